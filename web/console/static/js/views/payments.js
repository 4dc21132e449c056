/** Payments: found by status, provider, day, or any id that somebody has in hand. */

import { h } from "../dom.js";
import { money, status, time } from "../format.js";
import { href, link } from "../router.js";
import { badge } from "../ui/badge.js";
import { empty } from "../ui/states.js";
import { DAYS, heading, listing } from "./parts.js";
import { named, shortId } from "./words.js";

/** @type {[string, string][]} */
const STATUSES = [
  ["failed,needs_review,requires_action", "Not paid: failed, waiting, in doubt"],
  ["pending,processing", "Under way"],
  ["partially_refunded,refunded", "Refunded, whole or in part"],
  ...[
    "succeeded",
    "failed",
    "requires_action",
    "needs_review",
    "canceled",
    "pending",
    "processing",
    "partially_refunded",
    "refunded",
  ].map((each) => /** @type {[string, string]} */ ([each, status(each)])),
];

/** @type {import("./parts.js").Filter[]} */
const FILTERS = [
  { name: "search", label: "Search", placeholder: "Invoice number or an id" },
  { name: "status", label: "Status", options: STATUSES },
  {
    name: "payment_method",
    label: "Provider",
    options: ["stripe", "paypal", "bank_transfer"].map((each) => [each, named(each)]),
  },
  ...DAYS,
];

/**
 * The columns of a list of payments.
 *
 * @type {import("../ui/table.js").Column<any>[]}
 */
export const COLUMNS = [
  { label: "Amount", isNumber: true, isHeader: true, cell: (each) => money(each.amount, each.currency) },
  { label: "Status", cell: (each) => [badge(each.status), each.is_disputed ? [" ", badge("disputed", { text: "Disputed", tone: "warn" })] : null] },
  { label: "What came of it", cell: outcome },
  { label: "Provider", cell: (each) => named(each.payment_method) },
  { label: "Payment", cell: (each) => shortId(each.id) },
  { label: "Begun", cell: (each) => time(each.created_at) },
];

/** Return what a list tells of a payment beside its status. */
function outcome(/** @type {any} */ payment) {
  if (payment.next_retry_at) {
    return ["Again ", time(payment.next_retry_at)];
  }
  if (payment.error) {
    return payment.error.message;
  }
  const { amount_refunded: refunded, currency } = payment;
  return Number(refunded) > 0 ? `${money(refunded, currency)} given back` : h("span", { class: "quiet" }, "—");
}

/** @type {import("../router.js").View} */
export default {
  path: "/payments",
  title: "Payments",
  nav: { label: "Payments", icon: "card" },
  needsCompany: true,
  permission: "payments:read",
  show(context) {
    const list = listing({
      context,
      key: ["payments"],
      path: "/payments",
      filters: FILTERS,
      table: {
        caption: "Payments",
        columns: COLUMNS,
        rowKey: (each) => each.id,
        rowHref: (each) => href(`/payments/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No payment fits", "A search takes an invoice's number or an id, ours or the provider's, from its beginning. Or widen the days, or choose another status.")
            : empty("No payments yet", "One begins when an invoice is paid, here or by the API.", link("/invoices", "Go to the invoices")),
      },
    });
    return { node: h("section", null, heading("Payments"), list.form, list.rows), stop: list.stop };
  },
};
