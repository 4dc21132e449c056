// What the API's words are called, and the tone in which each is shown.

const TONES = {
  good: ["succeeded", "paid", "active", "won", "completed", "closed", "sent", "ok", "prevented"],
  info: ["pending", "processing", "open", "received", "under_review", "warning_under_review",
    "calling", "waiting", "half_open", "info"],
  warn: ["requires_action", "scheduled", "asked", "needs_response", "warning_needs_response",
    "degraded", "warning", "uncollectible", "unknown"],
  bad: ["failed", "needs_review", "in_review", "dead", "declined", "rejected", "lost", "critical",
    "refused", "stopped", "exhausted", "away", "unavailable", "not migrated"],
  back: ["refunded", "partially_refunded"],
};

const TONE_OF = new Map(
  Object.entries(TONES).flatMap(([tone, words]) => words.map((word) => [word, tone])),
);

const NAMES = {
  stripe: "Stripe",
  paypal: "PayPal",
  bank_transfer: "Bank transfer",
  bank_account: "Bank account",
  visa: "Visa",
  mastercard: "Mastercard",
  amex: "American Express",
  diners: "Diners Club",
  jcb: "JCB",
  unionpay: "UnionPay",
  requires_action: "Waits for customer",
  partially_refunded: "Partly refunded",
  needs_review: "Needs review",
  needs_response: "Needs response",
  warning_needs_response: "Inquiry, needs response",
  warning_under_review: "Inquiry, under review",
  warning_closed: "Inquiry closed",
  under_review: "With the bank",
  billing_admin: "Billing admin",
  insufficient_funds: "Insufficient funds",
};

/** Return the tone of a state: good, info, warn, bad, back, or plain. */
export const toneOf = (word) => TONE_OF.get(word) ?? "plain";

/** Return what people call a word of the API: `do_not_honor` is "Do not honor". */
export function named(word) {
  if (word === null || word === undefined || word === "") return "–";
  if (NAMES[word]) return NAMES[word];
  const text = String(word).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return what people know a payment method by. */
export function methodName(method) {
  const kind = method.brand ? named(method.brand) : named(method.type ?? "card");
  return method.last_four ? `${kind} •••• ${method.last_four}` : kind;
}

/** Return an id's end, by which people tell one from another. */
export const shortId = (id) => (id ? `…${String(id).slice(-8)}` : "–");
