/** What people call things whose names in the API are ids and words. */

import { h } from "../dom.js";
import { words } from "../format.js";
import { href } from "../router.js";

/** @type {Record<string, string>} */
const NAMES = {
  stripe: "Stripe",
  paypal: "PayPal",
  openexchangerates: "Open Exchange Rates",
  sendgrid: "SendGrid",
  smtp: "SMTP",
  bank_transfer: "Bank transfer",
  visa: "Visa",
  amex: "American Express",
  diners: "Diners Club",
  jcb: "JCB",
  unionpay: "UnionPay",
};

/** Return a name of the API as people write it: "paypal" is "PayPal". */
export function named(/** @type {string | null | undefined} */ word) {
  return word ? (NAMES[word] ?? words(word)) : "—";
}

/** Return why somebody declined: "insufficient_funds", or PayPal's own in capitals, as words. */
export function declined(/** @type {string} */ code) {
  return words(code.toLowerCase());
}

/**
 * Return what people know a payment method by: "Visa •••• 4242".
 *
 * @param {{brand?: string | null, type?: string, last_four?: string | null}} method
 */
export function methodName({ brand, type, last_four: lastFour }) {
  const kind = named(brand ?? type ?? "card");
  return lastFour ? `${kind} •••• ${lastFour}` : kind;
}

/** Return the end of an id, which tells one from another; the whole is its title. */
export function shortId(/** @type {string | null | undefined} */ id) {
  return id ? h("code", { title: id, class: "id" }, `…${id.slice(-8)}`) : "—";
}

const SUBJECTS = /** @type {Record<string, string>} */ ({ transaction: "/payments", invoice: "/invoices", dispute: "/disputes" });

/**
 * Return the address of what is told: of an alert's subject, of the payment or invoice that an event
 * names; null if there is none.
 *
 * @param {any} told an alert as the API answers it, or what an event of the relay has as `data`
 */
export function aboutOf({ subject, subject_id: subjectId, transaction_id: paymentId, invoice_id: invoiceId }) {
  if (subjectId && SUBJECTS[subject]) {
    return href(`${SUBJECTS[subject]}/${subjectId}`);
  }
  if (paymentId) {
    return href(`/payments/${paymentId}`);
  }
  return invoiceId ? href(`/invoices/${invoiceId}`) : null;
}

/** @type {Record<string, string>} */
const HAPPENED = {
  "invoice.created": "Invoice issued",
  "invoice.updated": "Invoice changed",
  "invoice.paid": "Invoice paid",
  "payment.started": "Payment begun",
  "payment.succeeded": "Payment succeeded",
  "payment.failed": "Payment failed",
  "module.subscribed": "Module subscribed",
  "module.unsubscribed": "Module unsubscribed",
  "module.usage_alert": "Module nearly used up",
  "system.alert": "Alert",
  "user.online": "Came online",
  "user.offline": "Went offline",
};

/**
 * Return what an event says in words.
 *
 * @param {import("../events.js").Happening} event
 */
export function happened({ type, data }) {
  if (type === "invoice.updated" && data.refund_status) {
    return `Refund: ${words(data.refund_status).toLowerCase()}`;
  }
  if (type === "system.alert" && data.is_resolved) {
    return "Alert over";
  }
  return HAPPENED[type] ?? words(type);
}
