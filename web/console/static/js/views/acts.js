/** What can be done about a payment: who may, when, and what it means; each asked for once. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { digitsOf, money, status, sum, typed } from "../format.js";
import { invalidate } from "../query.js";
import { can } from "../session.js";
import { confirm, stayingHere } from "../ui/dialog.js";
import { field, input, select, textarea } from "../ui/forms.js";
import { toast } from "../ui/toasts.js";
import { button, refocus } from "./parts.js";
import { methodName, named } from "./words.js";

const WAIT_S = 10;
/** @type {[string, string][]} */
const REASONS = [
  ["customer_request", "The customer asked for it"],
  ["duplicate", "It was paid twice"],
  ["fraudulent", "It was fraud"],
  ["chargeback", "A chargeback"],
  ["other", "Something else"],
];
const CAPTURED = ["succeeded", "partially_refunded"];
// What PayPal may still be asked to take.
const CAPTURABLE = ["pending", "processing", "requires_action", "failed"];

/**
 * @typedef {object} Act
 * @property {string} icon
 * @property {string} text
 * @property {(payment: any) => boolean} isOffered
 * @property {(payment: any) => Promise<any>} ask
 * @property {string} [tone]
 */

/** @type {Act[]} */
const ACTS = [
  {
    icon: "retry",
    text: "Retry now",
    tone: "primary",
    isOffered: (payment) => can("payments:write") && payment.status === "failed",
    ask: askRetry,
  },
  {
    icon: "check",
    text: "Capture",
    tone: "primary",
    isOffered: (payment) => can("payments:write") && payment.payment_method === "paypal" && CAPTURABLE.includes(payment.status),
    ask: askCapture,
  },
  {
    icon: "close",
    text: "Cancel payment",
    isOffered: (payment) => can("payments:write") && payment.status === "requires_action",
    ask: askCancel,
  },
  {
    icon: "refund",
    text: "Refund",
    isOffered: (payment) => mayRefund(payment) && CAPTURED.includes(payment.status) && !payment.is_disputed && payment.amount_captured > payment.amount_refunded,
    ask: askRefund,
  },
  {
    icon: "out",
    text: "Reverse transfer",
    isOffered: (payment) => can("operations") && payment.payment_method === "bank_transfer" && payment.status === "succeeded",
    ask: askReverse,
  },
];

/** What was sent back of a bank transfer is recorded by an operator, who has sent it. */
function mayRefund(/** @type {any} */ payment) {
  return can(payment.payment_method === "bank_transfer" ? "operations" : "refunds:write");
}

/** Return the buttons of a payment. They stay the same ones, so that the focus comes back to them. */
export function actsOf() {
  /** @type {any} */
  let payment = null;
  const buttons = ACTS.map((act) => {
    const node = button(act.icon, act.text, async () => {
      await act.ask(payment);
      refocus();
    });
    node.classList.add(...(act.tone ? [act.tone] : []));
    node.hidden = true;
    return node;
  });
  return {
    buttons,
    show(/** @type {any} */ current) {
      payment = current;
      const hadFocus = buttons.some((each) => each === document.activeElement);
      ACTS.forEach((act, number) => {
        const isOffered = act.isOffered(current);
        if (!isOffered && buttons[number] === document.activeElement) {
          buttons[number].blur();
        }
        buttons[number].hidden = !isOffered;
      });
      if (document.activeElement === document.body && hadFocus) {
        refocus();
      }
    },
  };
}

/**
 * Ask the API for something about a payment, tell what came of it, and have it all read anew.
 *
 * @param {any} payment
 * @param {string} verb the end of its address
 * @param {any} body
 * @param {import("../api.js").Act} act
 */
async function send(payment, verb, body, act) {
  try {
    const answer = await api.post(`/payments/${payment.id}/${verb}`, body, { act, waitS: WAIT_S });
    const stands = answer.status ?? payment.status;
    const isBad = stands === "failed";
    toast(
      `${named(verb)}: ${status(stands).toLowerCase()}${answer.error ? `. ${answer.error.message}` : ""}`,
      { tone: isBad ? "warn" : "good" },
    );
    return answer;
  } finally {
    // Also after an error: it may say that things stand otherwise than they are shown.
    for (const noun of ["payments", "invoices", "overview"]) {
      invalidate([noun]);
    }
  }
}

/** @param {any} payment */
async function askRefund(payment) {
  const { currency } = payment;
  const left = typed(sum([payment.amount_captured, `-${payment.amount_refunded}`]), currency);
  const act = newAct();
  const preview = h("p", { role: "status" });
  const amount = field("Amount", input({ name: "amount", inputmode: "decimal", required: true, value: left }), {
    hint: `At most ${money(left, currency)}, in ${currency}.`,
  });
  const show = () => {
    const text = amount.control.value.trim();
    const wrong = wrongOf(text, currency);
    amount.control.setCustomValidity(wrong);
    replace(preview, wrong || toldRefund(text, left, currency));
  };
  amount.control.addEventListener("input", show);
  show();
  const isTransfer = payment.payment_method === "bank_transfer";
  await confirm({
    title: "Refund this payment?",
    consequences: [
      preview,
      h("p", { class: "quiet" }, isTransfer
        ? "This records what you have sent back by hand; no money is moved by it."
        : `${named(payment.payment_method)} gives it back to what the payment was made with, in some days. Its fees are kept. It cannot be taken back.`),
    ],
    fields: [
      amount,
      field("Reason", select({ name: "reason" }, REASONS)),
      field("Note", textarea({ name: "notes", maxlength: 2000 }), { hint: "For whoever reads the history; the customer does not see it." }),
    ],
    submit: "Refund",
    tone: "danger",
    act: async (values) => {
      const body = { amount: values.amount, reason: values.reason, ...(values.notes ? { notes: values.notes } : {}) };
      await send(payment, "refund", body, act);
    },
  });
}

/** Return why that is no amount of the currency, "" where it is one. */
export function wrongOf(/** @type {string} */ amount, /** @type {string} */ currency) {
  const digits = digitsOf(currency);
  const [, fraction = ""] = amount.split(".");
  if (!/^\d+(\.\d+)?$/.test(amount)) {
    return `Write an amount such as ${typed("10", currency)}.`;
  }
  return fraction.length > digits ? `${currency} has ${digits || "no"} digits after the point.` : "";
}

/** @param {string} amount @param {string} left @param {string} currency */
function toldRefund(amount, left, currency) {
  const rest = sum([left, `-${amount}`]);
  return rest.startsWith("-")
    ? `That is more than the ${money(left, currency)} that can be given back.`
    : [h("strong", null, money(amount, currency)), " goes back to the customer; ", money(rest, currency), " of it stays."];
}

/** @param {any} payment */
async function askRetry(payment) {
  const act = newAct();
  const isHere = stayingHere();
  const methods = (await api.get("/payment-methods", { query: { limit: 100 } })).filter(
    (/** @type {any} */ each) => (each.type === "paypal") === (payment.payment_method === "paypal"),
  );
  if (!isHere()) {
    return;
  }
  const isOwn = methods.some((/** @type {any} */ each) => each.id === payment.payment_method_id);
  const choice = field(
    "Charge",
    select(
      { name: "payment_method_id", required: true, value: isOwn ? payment.payment_method_id : undefined },
      methods.map((/** @type {any} */ each) => [each.id, `${methodName(each)}${each.is_default ? ", the default" : ""}${each.is_expired ? ", expired" : ""}`]),
    ),
    { hint: methods.length ? null : "There is no method to charge. Add one first." },
  );
  await confirm({
    title: `Charge ${money(payment.amount, payment.currency)} now?`,
    consequences: h("p", null, "The method is charged at once. It takes no step of the ladder: what is scheduled stays, unless this succeeds or the card is refused for good."),
    fields: [choice],
    submit: "Charge now",
    act: async (values) => {
      await send(payment, "retry", { payment_method_id: values.payment_method_id }, act);
    },
  });
}

/** @param {any} payment */
async function askCancel(payment) {
  const act = newAct();
  await confirm({
    title: "Give this payment up?",
    consequences: h("p", null, "The customer can no longer pay it, and its invoice is free for another payment. Who has just paid stays paid. It cannot be taken back."),
    submit: "Cancel payment",
    tone: "danger",
    act: async () => {
      await send(payment, "cancel", {}, act);
    },
  });
}

/** @param {any} payment */
async function askCapture(payment) {
  const act = newAct();
  await confirm({
    title: `Take ${money(payment.amount, payment.currency)} at PayPal?`,
    consequences: h("p", null, "If the customer has approved it, the money is taken. If not, nothing happens, and they can still approve it."),
    submit: "Capture",
    act: async () => {
      await send(payment, "capture", {}, act);
    },
  });
}

/** @param {any} payment */
async function askReverse(payment) {
  const act = newAct();
  await confirm({
    title: "Reverse this bank transfer?",
    consequences: h("p", null, "It counts as recorded by mistake: its invoice is due again and its reference is free. No money is moved."),
    fields: [field("Why", textarea({ name: "reason", required: true, maxlength: 500 }))],
    submit: "Reverse",
    tone: "danger",
    act: async (values) => {
      await send(payment, "reverse", { reason: values.reason }, act);
    },
  });
}
