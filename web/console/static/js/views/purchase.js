/** A payment from nothing: an invoice, a test method and the charge, each step as it happens. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { money } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { link } from "../router.js";
import { badge } from "../ui/badge.js";
import { field, formOf, input, select } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { panel, redrawn } from "./parts.js";
import { addressAt, standIns } from "./standins.js";
import { declined } from "./words.js";

const WAIT_S = 15;
// A worker that has much to do is asked again, under the same key.
const MOST_ASKED = 4;
const AMOUNT = /^[0-9]{1,13}([.][0-9]+)?$/;

/**
 * What to pay with. Without a token it is kept nowhere: the customer approves on the provider's page.
 *
 * @typedef {object} Way
 * @property {string} name
 * @property {string} does
 * @property {"stripe" | "paypal"} provider
 * @property {"card" | "bank_account" | "paypal"} type
 * @property {string} [token]
 * @property {string} [currency] the only one that it takes
 */

/** @type {Record<string, Way>} */
const WAYS = {
  visa: card("Visa that pays", "pm_card_visa", "Is paid at once."),
  secure: card("Card with 3-D Secure", "pm_card_authenticationRequired", "Its bank asks first: answer on the page that is linked then."),
  funds: card("Card without funds", "pm_sandbox_decline_insufficient_funds__try_again_later", "Is declined, and charged again after 24, 48 and 72 hours."),
  lost: card("Lost card", "pm_sandbox_decline_lost_card__do_not_try_again", "Is declined for good: nothing is tried again."),
  expired: card("Expired card", "pm_sandbox_decline_expired_card__confirm_card_data", "Is declined; the customer must give another one."),
  refused: card("Card refused at once", "pm_card_chargeDeclined", "Cannot even be added: its bank declines it there."),
  processing: card("Card that takes its time", "pm_sandbox_processing", "Stays in processing until it is settled by the sandbox's control."),
  disputed: card("Card that is disputed", "pm_card_createDispute", "Is paid, and disputed as fraud right away."),
  refund: card("Card whose refund fails", "pm_card_refundFail", "Is paid; a refund of it comes back from the bank."),
  bank: { ...card("US bank account", "pm_usBankAccount_success", "Stays in processing and is paid once four days have passed."), type: "bank_account", currency: "USD" },
  page: { name: "PayPal, on its page", does: "The payer approves on PayPal's page, which is linked then.", provider: "paypal", type: "paypal" },
  wallet: wallet("PayPal wallet that pays", "sandbox_payer", "Is paid at once."),
  declined: wallet("PayPal wallet that is declined", "sandbox_instrument_declined", "Is declined by PayPal."),
};

/** @param {string} name @param {string} token @param {string} does @returns {Way} */
function card(name, token, does) {
  return { name, does, provider: "stripe", type: "card", token };
}

/** @param {string} name @param {string} token @param {string} does @returns {Way} */
function wallet(name, token, does) {
  return { name, does, provider: "paypal", type: "paypal", token };
}

/** The panel in which a payment is made. */
export function purchasePanel() {
  const known = standIns();
  const options = Object.entries(WAYS)
    .filter(([, way]) => known.includes(way.provider))
    .map(([id, way]) => /** @type {[string, string]} */ ([id, way.name]));
  const does = h("span");
  const way = field("Pay with", select({ name: "way" }, options), { hint: does });
  const amount = field("Amount", input({ name: "amount", value: "499.00", inputmode: "decimal", required: true }));
  const currency = field("Currency", select({ name: "currency", value: "INR" }, ["INR", "USD", "EUR", "GBP", "JPY"]));
  const steps = h("ol", { class: "plain-list steps", "aria-live": "polite", "aria-label": "Steps of the payment" });
  let stop = () => {};
  let isLeft = false;
  // What stands there again once a way has gone that takes only one.
  let ownCurrency = currency.control.value;
  currency.control.addEventListener("change", () => (ownCurrency = currency.control.value));
  amount.control.addEventListener("input", () => amount.control.setCustomValidity(faultOfAmount(amount.control.value)));
  const show = () => {
    const chosen = WAYS[way.control.value];
    replace(does, chosen.does);
    currency.control.disabled = Boolean(chosen.currency);
    currency.control.value = chosen.currency ?? ownCurrency;
  };
  way.control.addEventListener("change", show);
  show();
  const form = formOf({
    fields: [way, amount, currency],
    submit: "Pay",
    async onSubmit(values) {
      stop();
      replace(steps);
      stop = await pay(WAYS[values.way], values.amount, values.currency, steps).catch(tellAtAmount);
      if (isLeft) {
        stop();
      }
    },
  });
  return {
    node: panel("Make a payment", form, steps),
    stop() {
      isLeft = true;
      stop();
    },
  };
}

/** Return what is wrong with an amount as it was typed; of currencies the server knows more. */
function faultOfAmount(/** @type {string} */ text) {
  const isGood = text.trim() === "" || (AMOUNT.test(text.trim()) && Number(text) > 0);
  return isGood ? "" : "Write an amount above zero, such as 499.00.";
}

/** The form has one field for what the API has on each line. @returns {never} */
function tellAtAmount(/** @type {any} */ error) {
  for (const each of error.errors ?? []) {
    if (each.field === "amount" || each.field.startsWith("lines")) {
      Object.assign(each, { field: "amount", detail: `The amount ${each.detail}.` });
    }
  }
  throw error;
}

/**
 * Go all the way, and show from then on where the payment stands.
 *
 * @param {Way} way @param {string} amount @param {string} currency
 * @param {HTMLElement} steps
 * @returns {Promise<() => void>} ends the watch
 */
async function pay(way, amount, currency, steps) {
  const line = { description: `Sandbox: ${way.name}`, quantity: 1, unit_amount: amount };
  const invoice = await step(steps, "Issue an invoice", () => api.post("/invoices", { currency, lines: [line] }), (made) => [
    link(`/invoices/${made.id}`, made.number),
    ` over ${money(made.amount, made.currency)}`,
  ]);
  const method = way.token ? await step(steps, "Add the payment method", () => kept(way), (made) => methodInWords(way, made)) : null;
  const body = { invoice_id: invoice.id, amount, ...(method ? { payment_method_id: method.id } : { provider: way.provider }) };
  const made = await step(steps, "Pay it", () => api.post("/payments/create-intent", body, { act: newAct(), waitS: WAIT_S }), () => null);
  for (const key of ["payments", "invoices", "payment-methods", "overview", "sandbox"]) {
    invalidate([key]);
  }
  return watchPayment(made, /** @type {HTMLElement} */ (steps.lastElementChild));
}

/** Add a method and wait until its provider has answered. */
async function kept(/** @type {Way} */ way) {
  const act = newAct();
  const ask = () => api.post("/payment-methods", { type: way.type, token: way.token }, { act, waitS: WAIT_S });
  let made = await ask();
  for (let asked = 1; made.status === "pending" && asked < MOST_ASKED; asked += 1) {
    made = await ask();
  }
  return made;
}

/** @param {Way} way @param {any} made */
function methodInWords(way, made) {
  return made.last_four ? `${made.brand ?? way.name} ending in ${made.last_four}` : way.name;
}

/** @param {any} made the answer of create-intent @param {HTMLElement} item */
function watchPayment(made, item) {
  const id = made.transaction_id;
  const node = h("div");
  const draw = redrawn(node, (/** @type {any} */ payment) => standing(payment, made.approve_url));
  item.append(node);
  draw({ id, status: made.status, error: made.error, provider_transaction_id: null });
  return watch(query(["payments", id], ({ signal }) => api.get(`/payments/${id}`, { signal })), ({ data }) => data && draw(data));
}

/** @param {any} payment @param {string | null} approveUrl */
function standing({ id, status, error, provider_transaction_id: intent }, approveUrl) {
  const onBanksPage = intent?.startsWith("pi_") ? addressAt("stripe", `3ds/${intent}`) : null;
  const to = status === "requires_action" ? (approveUrl ?? onBanksPage) : null;
  return [
    badge(status),
    error ? ` ${error.code ? declined(error.code) : error.message}` : null,
    " ",
    link(`/payments/${id}`, "See the payment"),
    to ? h("p", null, h("a", { class: "button", href: to, target: "_blank", rel: "noopener" }, icon("external"), approveUrl ? "Approve at PayPal" : "Answer the bank")) : null,
  ];
}

/**
 * Do one step and show what became of it; what fails is thrown on, for the form to tell.
 *
 * @param {HTMLElement} steps @param {string} name
 * @param {() => Promise<any>} act @param {(made: any) => import("../dom.js").Child} tell
 */
async function step(steps, name, act, tell) {
  const told = h("span", { class: "quiet" }, "…");
  const item = h("li", { dataset: { state: "busy" } }, h("strong", null, name), " ", told);
  steps.append(item);
  try {
    const made = await act();
    item.dataset.state = "done";
    replace(told, tell(made));
    return made;
  } catch (error) {
    item.dataset.state = "failed";
    replace(told, /** @type {any} */ (error).title ?? "failed");
    throw error;
  }
}
