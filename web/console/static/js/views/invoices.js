/** Invoices: found by number, status, currency or day. */

import { serverNow } from "../clock.js";
import { h } from "../dom.js";
import { date, money, time } from "../format.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { empty } from "../ui/states.js";
import { DAYS, heading, listing } from "./parts.js";

/** @type {[string, string][]} */
const STATUSES = [
  ["open", "Open"],
  ["paid", "Paid"],
  ["uncollectible", "Uncollectible"],
  ["void", "Void"],
  ["draft", "Draft"],
];
const CURRENCIES = ["INR", "USD", "EUR", "GBP", "JPY"];

/** @type {import("./parts.js").Filter[]} */
const FILTERS = [
  { name: "search", label: "Search", placeholder: "Number or id" },
  { name: "status", label: "Status", options: STATUSES },
  { name: "currency", label: "Currency", options: CURRENCIES },
  ...DAYS,
];

/** Return whether an invoice is open past the day on which it was due. */
function isOverdue(/** @type {any} */ { status, due_on: dueOn }) {
  const today = new Date(serverNow()).toISOString().slice(0, "2026-12-31".length);
  return status === "open" && dueOn !== null && dueOn < today;
}

/** @type {import("../router.js").View} */
export default {
  path: "/invoices",
  title: "Invoices",
  nav: { label: "Invoices", icon: "invoice" },
  needsCompany: true,
  permission: "invoices:read",
  show(context) {
    const list = listing({
      context,
      key: ["invoices"],
      path: "/invoices",
      filters: FILTERS,
      table: {
        caption: "Invoices",
        columns: [
          { label: "Number", isHeader: true, cell: (each) => each.number ?? "Draft" },
          { label: "Status", cell: (each) => statusOf(each) },
          { label: "Amount", isNumber: true, cell: (each) => money(each.amount, each.currency) },
          { label: "Due", isNumber: true, cell: (each) => money(each.amount_due, each.currency) },
          { label: "Due on", cell: (each) => (each.due_on ? date(each.due_on) : "—") },
          { label: "Issued", cell: (each) => (each.issued_at ? time(each.issued_at) : "—") },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`/invoices/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No invoice fits", "A search takes an invoice's number or its id, from the beginning. Or widen the days, or choose another status.")
            : empty("No invoices yet", "They are issued by the API: POST /api/v1/invoices."),
      },
    });
    return { node: h("section", null, heading("Invoices"), list.form, list.rows), stop: list.stop };
  },
};

/** Return an invoice's status; what is late says so. */
export function statusOf(/** @type {any} */ invoice) {
  return badge(isOverdue(invoice) ? "overdue" : invoice.status);
}
