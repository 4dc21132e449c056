/** Disputes: what customers' banks ask, and until when. */

import { h } from "../dom.js";
import { money, time, words } from "../format.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { empty } from "../ui/states.js";
import { DAYS, heading, listing } from "./parts.js";
import { named } from "./words.js";

/** @type {[string, string][]} */
const STATES = [
  ["open", "Open"],
  ["closed", "Closed"],
];
/** @type {[string, string][]} */
const STATUSES = [
  ["needs_response", "Needs a response"],
  ["warning_needs_response", "Inquiry, needs a response"],
  ["under_review", "Under review"],
  ["won", "Won"],
  ["lost", "Lost"],
];

/** @type {import("../router.js").View} */
export default {
  path: "/disputes",
  title: "Disputes",
  nav: { label: "Disputes", icon: "dispute" },
  needsCompany: true,
  permission: "disputes:read",
  show(context) {
    const payment = context.query.get("transaction_id");
    const list = listing({
      context,
      key: ["disputes"],
      path: "/disputes",
      always: payment ? { transaction_id: payment } : {},
      filters: [
        { name: "state", label: "State", options: STATES },
        { name: "status", label: "Status", options: STATUSES },
        ...DAYS,
      ],
      table: {
        caption: "Disputes",
        columns: [
          { label: "Amount", isNumber: true, isHeader: true, cell: (each) => money(each.amount, each.currency) },
          { label: "Status", cell: (each) => badge(each.status) },
          { label: "Reason", cell: (each) => words(each.reason) },
          { label: "Evidence due", cell: due },
          { label: "Provider", cell: (each) => named(each.provider) },
          { label: "Opened", cell: (each) => time(each.created_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`/disputes/${each.id}`),
        empty: () =>
          payment || Object.values(list.values()).some(Boolean)
            ? empty("No dispute fits", "Choose another state or wider days.")
            : empty("No disputes", "When a customer's bank takes money back, it is shown here with the day until which to answer."),
      },
    });
    return { node: h("section", null, heading("Disputes"), list.form, list.rows), stop: list.stop };
  },
};

/** Return until when evidence is taken, or that it was handed over. */
function due(/** @type {any} */ dispute) {
  if (dispute.evidence_submitted_at) {
    return ["handed over ", time(dispute.evidence_submitted_at)];
  }
  return dispute.is_open ? time(dispute.evidence_due_at) : "—";
}
