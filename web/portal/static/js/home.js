/** A company's own portal: its invoices, and what it pays with. */

import { h, replace } from "/console/static/js/dom.js";
import * as api from "./api.js";
import { canTakeCards, cardForm } from "./card.js";
import { nameOf } from "./invoice.js";
import { badge, button, note, show } from "./parts.js";
import { advice, day, money, say } from "./words.js";

/** @param {{visit: any}} context */
export async function homeView({ visit }) {
  const invoices = h("ul", { class: "plain" });
  const more = h("div", { class: "actions" });
  const methods = h("div");
  const told = h("div");
  show(
    `${say("account")} · ${visit.issuer}`,
    h("h1", null, say("account")),
    h("p", { class: "quiet" }, say("billedTo", { company: visit.company })),
    h("section", { class: "card" }, h("h2", null, say("invoices")), invoices, more),
    h("section", { class: "card" }, h("h2", null, say("cards")), told, methods),
  );
  await Promise.all([addPage(invoices, more, null), drawMethods(methods, told)]);
}

/** @param {HTMLElement} list @param {HTMLElement} more @param {string | null} cursor */
async function addPage(list, more, cursor) {
  const page = await api.get(`/invoices${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
  list.append(...page.data.map(item));
  if (!list.childElementCount) {
    list.append(h("li", { class: "quiet" }, say("noInvoices")));
  }
  replace(more, page.next_cursor ? button(say("more"), () => addPage(list, more, page.next_cursor)) : null);
}

/** @param {any} invoice */
function item(invoice) {
  const isDue = invoice.status === "open" && Number(invoice.amount_due) > 0;
  const when = isDue && invoice.due_on ? say("dueOn", { day: day(invoice.due_on) }) : day(invoice.issued_at);
  return h("li", { class: "row" },
    h("span", null, h("a", { href: `#/invoices/${invoice.id}` }, `${say("invoice")} ${invoice.number}`), h("span", { class: "quiet" }, ` · ${when}`)),
    h("span", null, badge(invoice.status), " ", money(isDue ? invoice.amount_due : invoice.amount, invoice.currency), " ",
      h("a", { href: api.pathOf(`/invoices/${invoice.id}/pdf`), download: `${invoice.number}.pdf`, "aria-label": say("pdfOf", { number: invoice.number }) }, "PDF")));
}

/** @param {HTMLElement} place @param {HTMLElement} told */
async function drawMethods(place, told) {
  const methods = await api.get("/payment-methods");
  const form = h("div");
  const done = async (/** @type {string} */ words) => {
    await drawMethods(place, told);
    replace(told, note("good", words));
  };
  replace(place,
    methods.length ? h("ul", { class: "plain" }, methods.map((/** @type {any} */ method) => methodItem(method, form, told, done))) : h("p", { class: "quiet" }, say("noCards")),
    form,
    canTakeCards() ? h("div", { class: "actions" }, button(say("addCard"), () => {
      replace(told);
      return askCard(form, done, null);
    }, { place: told })) : null);
}

/** @param {any} method @param {HTMLElement} form @param {HTMLElement} told @param {(words: string) => Promise<void>} done */
function methodItem(method, form, told, done) {
  const until = method.exp_month ? say("expires", { date: `${String(method.exp_month).padStart(2, "0")}/${method.exp_year}` }) : "";
  const path = `/payment-methods/${method.id}`;
  const small = { kind: "small", place: told };
  return h("li", { class: "row" },
    h("span", null, nameOf(method), h("span", { class: "quiet" }, until ? ` · ${until}` : ""), " ",
      method.is_default ? h("span", { class: "badge good" }, say("isDefault")) : null, " ",
      method.is_expired ? h("span", { class: "badge bad" }, say("expired")) : null),
    h("span", { class: "row" },
      method.is_default ? null : button(say("makeDefault"), async () => {
        await api.post(`${path}/default`);
        await done(say("chosen"));
      }, small),
      method.type === "card" && canTakeCards() ? button(say("update"), () => askCard(form, done, method), small) : null,
      button(say("remove"), () => sure(say("removeSure", { name: nameOf(method) }), async () => {
        await api.remove(path);
        await done(say("removed"));
      }), small)));
}

/** Ask for a card: a new one, or what is to take another's place. @param {HTMLElement} place @param {(words: string) => Promise<void>} done @param {any} replaced */
async function askCard(place, done, replaced) {
  const told = h("div");
  const frame = h("div");
  const isDefault = h("input", { type: "checkbox", checked: true });
  replace(place, h("h3", null, replaced ? `${say("update")}: ${nameOf(replaced)}` : say("addCard")), told, frame);
  const form = await cardForm(frame);
  if (!replaced) {
    place.append(h("fieldset", null, h("label", null, isDefault, say("useAsDefault"))));
  }
  place.append(h("div", { class: "actions" },
    button(say("saveCard"), async () => {
      replace(told);
      const wrong = await form.check();
      const { paymentMethod, error } = wrong ? { error: wrong } : await form.token();
      if (error) {
        replace(told, note("bad", error.message));
        return;
      }
      const body = { type: "card", token: paymentMethod.id };
      try {
        await (replaced ? api.post(`/payment-methods/${replaced.id}/replace`, body) : api.post("/payment-methods", { ...body, is_default: isDefault.checked }));
      } catch (refused) {
        if (!(refused instanceof api.ApiError) || refused.status !== 402) {
          throw refused;
        }
        replace(told, note("bad", say("cardDeclined"), advice(refused.problem.code)));
        return;
      }
      await done(say("saved"));
    }, { kind: "primary", busy: say("saving"), place: told }),
    button(say("cancel"), async () => replace(place))));
}

/** Ask before what cannot be undone. @param {string} question @param {() => Promise<void>} act */
function sure(question, act) {
  const dialog = h("dialog", { "aria-label": question }, h("p", null, question));
  dialog.append(h("div", { class: "actions" },
    button(say("remove"), async () => {
      await act();
      dialog.close();
    }),
    button(say("cancel"), async () => dialog.close())));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return Promise.resolve();
}
