/** Subscriptions: what the company has, and until when it is billed. */

import { h } from "../dom.js";
import { count, time } from "../format.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { empty } from "../ui/states.js";
import { DAYS, heading, listing } from "./parts.js";
import { named } from "./words.js";

/** @type {[string, string][]} */
export const STATUSES = [
  ["trialing", "In its trial"],
  ["active", "Active"],
  ["past_due", "Past due"],
  ["unpaid", "Unpaid"],
  ["paused", "Paused"],
  ["canceled", "Canceled"],
];

/** @type {import("../router.js").View} */
export default {
  path: "/subscriptions",
  title: "Subscriptions",
  nav: { label: "Subscriptions", icon: "refresh" },
  needsCompany: true,
  permission: "invoices:read",
  show(context) {
    const list = listing({
      context,
      key: ["subscriptions"],
      path: "/subscriptions",
      filters: [{ name: "status", label: "Status", options: STATUSES }, ...DAYS],
      table: {
        caption: "Subscriptions",
        columns: [
          { label: "Plan", isHeader: true, cell: (each) => each.plan },
          { label: "Status", cell: (each) => [badge(each.status), each.cancel_at_period_end ? " ends with its period" : null] },
          { label: "Seats", isNumber: true, cell: (each) => count(each.seats) },
          { label: "Period ends", cell: (each) => time(each.current_period_end) },
          { label: "Billed by", cell: (each) => (each.provider ? named(each.provider) : "us") },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`/subscriptions/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No subscription fits", "Choose another status or wider days.")
            : empty("No subscriptions", "What the company subscribes to by the API is shown here."),
      },
    });
    return { node: h("section", null, heading("Subscriptions"), list.form, list.rows), stop: list.stop };
  },
};
