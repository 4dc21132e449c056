/** One invoice: what is due, how to pay it, what became of it, and what is on it. */

import { h, replace } from "/console/static/js/dom.js";
import * as api from "./api.js";
import { canTakeCards, cardForm, provider } from "./card.js";
import { badge, button, inWords, note, show } from "./parts.js";
import { advice, day, money, say } from "./words.js";

const LOOK_AGAIN_MS = [300, 700, 1500, 3000, 5000, 10_000];
const PAYING = "paybeat.portal.paying";
// What the provider says to a tab whose payment another tab has gone on with.
const OVERTAKEN = ["payment_intent_unexpected_state", "lock_timeout"];
const IN_HAND = ["succeeded", "processing"];

/**
 * Show an invoice until another view is shown.
 *
 * @param {string} id
 * @param {{visit: any, told?: any, intent?: any}} context `told` is said at its top; `intent` is what
 *   the provider says of a payment, which we may not have heard yet
 */
export async function invoiceView(id, { visit, told = null, intent = null }) {
  const invoice = await api.get(`/invoices/${id}`);
  const after = (/** @type {any} */ words) => invoiceView(id, { visit, told: words });
  const top = h("div");
  show(
    `${say("invoice")} ${invoice.number}`,
    visit.invoice_id ? null : h("p", null, h("a", { href: "#/" }, `‹ ${say("back")}`)),
    h("div", { class: "card" }, summary(invoice, visit), top),
    lines(invoice),
    history(invoice),
  );
  if (told) {
    top.append(told);
  }
  if (invoice.standing === "processing" || (intent && invoice.standing === "payable")) {
    top.append(note("", say("processing"), say("processingMore")));
    await settled(id, intent, invoice);
    await after(null);
  } else if (invoice.standing === "payable") {
    await payable(top, invoice, { visit, after, isTold: Boolean(told) });
  } else {
    top.append(...ended(invoice, visit));
  }
}

/**
 * Wait until nobody has the payment in hand any more, ever less often; end where another view is shown.
 *
 * @param {string} id @param {any} [intent] what the provider says of the payment, which we may not have heard yet
 * @param {any} [before] the invoice as it was: what was declined then is no news
 */
async function settled(id, intent = null, before = null) {
  const shown = document.querySelector("h1");
  for (let looked = 0; shown === document.querySelector("h1"); looked += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS[Math.min(looked, LOOK_AGAIN_MS.length - 1)]));
    const now = await api.get(`/invoices/${id}`).catch(() => null);
    const isUnheard = intent && now?.standing === "payable" && (intent.status === "succeeded" || (now.to_do?.at ?? null) === (before?.to_do?.at ?? null));
    if (now && now.standing !== "processing" && !isUnheard) {
      return;
    }
  }
  // Whoever shows another view goes on there.
  await new Promise(() => {});
}

function summary(/** @type {any} */ invoice, /** @type {any} */ visit) {
  const isOpen = ["payable", "processing"].includes(invoice.standing);
  return [
    h("div", { class: "head" }, h("h1", null, `${say("invoice")} ${invoice.number}`), badge(invoice.standing === "paid" ? "paid" : invoice.status)),
    h("p", { class: "due" }, money(isOpen ? invoice.amount_due : invoice.amount, invoice.currency)),
    h("p", { class: "quiet" }, [
      say("billedTo", { company: invoice.billed_to?.name ?? visit.company }),
      invoice.due_on && isOpen ? ` · ${say("dueOn", { day: day(invoice.due_on) })}` : "",
    ].join("")),
    h("p", null, h("a", { href: api.pathOf(`/invoices/${invoice.id}/pdf`), download: `${invoice.number}.pdf` }, say("pdf"))),
  ];
}

function ended(/** @type {any} */ invoice, /** @type {any} */ visit) {
  if (invoice.standing === "paid") {
    return [note("good", say("paidThanks"))];
  }
  const more = invoice.standing === "void" ? say("voidMore") : say("uncollectibleMore", { issuer: visit.issuer });
  return [note("", say(invoice.standing), more)];
}

/** The ways to pay, and the one that is chosen. @param {HTMLElement} top @param {any} invoice @param {any} context */
async function payable(top, invoice, context) {
  const { visit, isTold } = context;
  if (invoice.to_do && !isTold) {
    top.append(note("bad", say("declined"), invoice.to_do.sentence));
  }
  const kept = visit.invoice_id ? [] : (await api.get("/payment-methods").catch(() => [])).filter((/** @type {any} */ each) => !each.is_expired);
  /** @type {{name: string, id: string, draw: (place: HTMLElement) => any}[]} */
  const ways = [
    ...kept.map((/** @type {any} */ method) => ({ id: method.id, name: nameOf(method), draw: (/** @type {HTMLElement} */ place) => byKept(place, invoice, method, context) })),
    ...(canTakeCards() ? [{ id: "card", name: say("card"), draw: (/** @type {HTMLElement} */ place) => byCard(place, invoice, context) }] : []),
    ...(invoice.takes_paypal ? [{ id: "paypal", name: say("paypal"), draw: (/** @type {HTMLElement} */ place) => byPayPal(place, invoice, context) }] : []),
  ];
  const place = h("div", { id: "card" });
  if (ways.length === 0) {
    top.append(note("", say("noWay", { issuer: visit.issuer })));
    return;
  }
  const choices = ways.map((way, number) => {
    const choice = h("input", { type: "radio", name: "way", value: way.id, checked: number === 0 });
    choice.addEventListener("change", () => way.draw(replace(place)));
    return h("label", null, choice, way.name);
  });
  top.append(h("fieldset", null, h("legend", null, say("payWith")), choices), place);
  await ways[0]?.draw(place);
}

/** @param {any} method @returns {string} */
export function nameOf({ type, brand, last_four: digits }) {
  const name = brand ? brand[0].toUpperCase() + brand.slice(1) : say("card");
  return digits ? say("kept", { brand: name, digits }) : type === "paypal" ? say("paypal") : say("card");
}

/** @param {HTMLElement} place @param {any} invoice @param {any} context */
async function byCard(place, invoice, { after }) {
  const told = h("div");
  const frame = h("div");
  replace(place, told, frame);
  const form = await cardForm(frame, { amount: String(invoice.amount_due), currency: invoice.currency }).catch((error) => {
    replace(told, note("bad", error.message));
    return null;
  });
  if (form === null || !place.contains(frame)) {
    return;
  }
  let key = crypto.randomUUID();
  place.append(
    button(say("pay", { amount: money(invoice.amount_due, invoice.currency) }), async () => {
      replace(told);
      const wrong = await form.check();
      if (wrong) {
        replace(told, note("bad", wrong.message));
        return;
      }
      const begun = await begin(invoice, { provider: "stripe" }, key);
      if (!begun.client_secret) {
        await after(unsure(begun));
        return;
      }
      // Some ways lead to a page of the bank's and back.
      sessionStorage.setItem(PAYING, JSON.stringify({ invoice: invoice.id, payment: null }));
      const { paymentIntent, error } = await form.confirm(begun.client_secret);
      sessionStorage.removeItem(PAYING);
      // What was declined is tried again as another act, of the same payment.
      key = crypto.randomUUID();
      if (isOvertaken(error)) {
        await overtaken(invoice, error, { told, after });
        return;
      }
      if (error) {
        replace(told, note("bad", say("declined"), advice(error.decline_code ?? error.code)));
        return;
      }
      replace(told, note("", say("processing"), say("processingMore")));
      await settled(invoice.id, paymentIntent, invoice);
      await after(null);
    }, { kind: "primary", busy: say("paying"), place: told }),
  );
}

/** @param {HTMLElement} place @param {any} invoice @param {any} method @param {any} context */
function byKept(place, invoice, method, { after }) {
  const told = h("div");
  let key = crypto.randomUUID();
  replace(place, told, button(say("pay", { amount: money(invoice.amount_due, invoice.currency) }), async () => {
    const begun = await begin(invoice, { payment_method_id: method.id }, key);
    key = crypto.randomUUID();
    if (begun.status === "failed") {
      replace(told, note("bad", say("declined"), advice(begun.error?.code)));
      return;
    }
    if (begun.status === "requires_action" && begun.client_secret) {
      const { paymentIntent, error } = await (await provider()).handleNextAction({ clientSecret: begun.client_secret });
      if (isOvertaken(error)) {
        await overtaken(invoice, error, { told, after });
        return;
      }
      if (error) {
        replace(told, note("bad", say("declined"), advice(error.decline_code ?? error.code)));
        return;
      }
      await settled(invoice.id, paymentIntent, invoice);
    }
    await after(unsure(begun));
  }, { kind: "primary", busy: say("paying"), place: told }));
}

/** @param {HTMLElement} place @param {any} invoice @param {any} context */
function byPayPal(place, invoice, { after }) {
  const told = h("div");
  const key = crypto.randomUUID();
  replace(place, told, button(say("toPayPal"), async () => {
    const begun = await begin(invoice, { provider: "paypal" }, key);
    if (!begun.approve_url) {
      await after(unsure(begun) ?? (begun.status === "requires_action" ? note("", say("tooMany")) : null));
      return;
    }
    sessionStorage.setItem(PAYING, JSON.stringify({ invoice: invoice.id, payment: begun.transaction_id }));
    location.assign(begun.approve_url);
    // The page is on its way elsewhere.
    await new Promise(() => {});
  }, { kind: "primary", busy: say("paying"), place: told }));
}

/** Whether the provider refused only because another tab has gone on with the payment. */
function isOvertaken(/** @type {any} */ error) {
  return Boolean(error) && (OVERTAKEN.includes(error.code) || IN_HAND.includes(error.payment_intent?.status));
}

/** Show what became of a payment that another tab has gone on with. @param {any} invoice @param {any} error @param {any} context */
async function overtaken(invoice, error, { told, after }) {
  const intent = error.payment_intent;
  if (!IN_HAND.includes(intent?.status)) {
    await after(note("", say("tooMany")));
    return;
  }
  replace(told, note("", say("processing"), say("processingMore")));
  await settled(invoice.id, intent, invoice);
  await after(null);
}

/** Return a calm word for an invoice of which we could not learn whether it is being paid. */
function unsure(/** @type {any} */ begun) {
  return begun.status === "payable" ? note("", say("tooMany")) : null;
}

/**
 * Begin to pay. Of a payment that is in the way, one that waits for the customer is given up: they
 * have chosen another way. One that another tab has just begun is gone on with. One that is over at
 * the provider is waited for, until we have heard of it: the answer has the invoice's standing as its
 * status then, which is still "payable" if that took too long.
 *
 * @param {any} invoice @param {any} way @param {string} key @returns {Promise<any>}
 */
async function begin(invoice, way, key) {
  const path = `/invoices/${invoice.id}/payments`;
  const begun = await unlessInTheWay(() => api.post(path, way, key));
  for (let looked = 0; begun === null && looked <= LOOK_AGAIN_MS.length; looked += 1) {
    const { waiting, standing } = await api.get(`/invoices/${invoice.id}`);
    if (standing !== "payable") {
      return { status: standing, client_secret: null };
    }
    const isOther = waiting && (waiting.is_closed || way.payment_method_id || waiting.provider !== way.provider);
    const again = await unlessInTheWay(async () => {
      if (isOther) {
        await api.post(`${path}/${waiting.id}/cancel`);
      }
      return api.post(path, way);
    });
    if (again !== null) {
      return again;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS[looked] ?? 0));
  }
  return begun ?? { status: "payable", client_secret: null };
}

/** Return what an act answers, or null where another payment is in the way. @param {() => Promise<any>} act */
async function unlessInTheWay(act) {
  try {
    return await act();
  } catch (error) {
    if (error instanceof api.ApiError && error.status === 409) {
      return null;
    }
    throw error;
  }
}

/** Return what was being paid when this tab went to a provider's page, once. */
export function cameBack() {
  const kept = sessionStorage.getItem(PAYING);
  sessionStorage.removeItem(PAYING);
  return kept === null ? null : JSON.parse(kept);
}

/** Show the invoice for whose payment this tab was elsewhere. @param {any} paid @param {any} context @param {URLSearchParams} came */
export async function goOn({ invoice, payment }, context, came) {
  if (payment === null) {
    const intent = came.get("redirect_status") === "succeeded" ? { status: "succeeded" } : null;
    await invoiceView(invoice, { ...context, intent });
    return;
  }
  // What was approved on PayPal's page is taken.
  const told = await api.post(`/invoices/${invoice}/payments/${payment}/capture`).catch((error) => ({ failed: error }));
  const isBad = told.failed || told.status === "failed";
  await invoiceView(invoice, { ...context, told: isBad ? note("bad", say("declined"), told.failed ? inWords(told.failed) : advice(told.error?.code)) : null });
}

/** @param {any} invoice */
function lines(invoice) {
  const sums = [
    [say("discount"), invoice.discount_amount, -1],
    [say("taxes"), invoice.tax_amount, 1],
    [say("total"), invoice.amount, 1],
    [say("credited"), invoice.amount_credited, -1],
    [say("paidSoFar"), invoice.amount_paid, -1],
    [say("amountDue"), invoice.amount_due, 1],
  ];
  const rows = sums.filter(([, amount], number) => Number(amount) || number === 2 || number === 5);
  const row = (/** @type {any[]} */ cells, kind = "td") => h("tr", null, cells.map((cell, number) => h(kind, { class: number ? "number" : "", scope: kind === "th" ? "col" : null }, cell)));
  return h("section", { class: "card" },
    h("div", { class: "table", tabindex: "0", role: "region", "aria-label": say("description") },
      h("table", null,
        h("thead", null, row([say("description"), say("quantity"), say("amount")], "th")),
        h("tbody", null,
          invoice.lines.map((/** @type {any} */ line) => row([line.description, String(Number(line.quantity)), money(line.amount, invoice.currency)])),
          rows.map(([name, amount, sign]) => row([name, "", `${sign < 0 ? "−" : ""}${money(amount, invoice.currency)}`])),
        ))),
    invoice.memo ? h("p", { class: "quiet" }, invoice.memo) : null);
}

/** @param {any} invoice */
function history(invoice) {
  const { currency } = invoice;
  const items = invoice.payments.flatMap((/** @type {any} */ payment) => [
    h("li", { class: "row" }, h("span", null, `${day(payment.at)} · `, payment.method?.last_four ? nameOf(payment.method) : payment.provider === "paypal" ? say("paypal") : say("card")), h("span", null, badge(payment.status), " ", money(payment.amount, currency))),
    ...payment.refunds.map((/** @type {any} */ refund) => h("li", { class: "row" }, h("span", null, `${day(refund.at)} · ${say("refund")}`), h("span", null, badge(refund.status), " ", money(refund.amount, currency)))),
  ]);
  const notes = invoice.credit_notes.map((/** @type {any} */ each) => h("li", { class: "row" },
    h("span", null, `${day(each.at)} · ${say("creditNote")} ${each.number} · `, h("a", { href: api.pathOf(`/invoices/${invoice.id}/credit-notes/${each.id}/pdf`), download: `${each.number}.pdf` }, say("pdfOf", { number: each.number }))),
    money(each.amount, currency)));
  return items.length + notes.length ? h("section", { class: "card" }, h("h2", null, say("payments")), h("ul", { class: "plain" }, items, notes)) : null;
}
