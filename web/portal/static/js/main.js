/** Where a link leads: its token is handed in for a visit, and is gone from the address at once. */

import { h, replace } from "/console/static/js/dom.js";
import * as api from "./api.js";
import { setUp } from "./card.js";
import { homeView } from "./home.js";
import { cameBack, goOn, invoiceView } from "./invoice.js";
import { button, inWords, note, show } from "./parts.js";
import { say, speak } from "./words.js";

const VIEW = /^#\/invoices\/([0-9a-f-]{36})$/;
/** @type {{visit: any}} */
const context = { visit: null };

/** Begin: by a link, by the visit that this tab has begun, or with a word about how one comes here. */
async function begin() {
  speak(navigator.language, "UTC");
  const token = location.hash.startsWith("#/") ? "" : location.hash.slice(1);
  const came = new URLSearchParams(location.search);
  // Neither a token nor what a provider adds stays in the address or in the history.
  history.replaceState(null, "", token || location.hash === "" ? "/portal/" : `/portal/${location.hash}`);
  try {
    setUp(await api.send("GET", "/portal/config.json"));
    if (token) {
      await api.begin(token);
    } else if (api.visitId() === null) {
      dead("none", "noneMore");
      return;
    }
    context.visit = await api.get("");
  } catch (error) {
    refused(error, token);
    return;
  }
  speak(context.visit.language, context.visit.time_zone);
  replace(/** @type {HTMLElement} */ (document.getElementById("issuer")), context.visit.issuer);
  await route(came);
}

/** Show what the address names; a link to one invoice has no other view. */
async function route(came = new URLSearchParams()) {
  const paid = cameBack();
  const named = VIEW.exec(location.hash)?.[1] ?? null;
  try {
    if (paid && came.has("canceled")) {
      await invoiceView(paid.invoice, { ...context, told: note("", say("canceledAtPayPal")) });
    } else if (paid) {
      await goOn(paid, context, came);
    } else if (context.visit.invoice_id || named) {
      await invoiceView(context.visit.invoice_id ?? named, context);
    } else {
      await homeView(context);
    }
  } catch (error) {
    refused(error, "");
  }
}

/** Say why somebody does not get in, and what they can do. */
function refused(/** @type {any} */ error, /** @type {string} */ token) {
  const status = error instanceof api.ApiError ? error.status : -1;
  if (status === 410) {
    dead("ended", "endedMore", () => (token ? api.send("POST", "/portal/links", { token }) : api.send("POST", api.pathOf("/links"), {})));
  } else if (status === 401 && token) {
    dead("bad", "badMore");
  } else if (status === 401) {
    dead("visitEnded", "visitEndedMore", () => api.send("POST", api.pathOf("/links"), {}));
  } else {
    show(say("failed"), h("div", { class: "card" }, h("h1", null, say("failed")), h("p", null, inWords(error)), button(say("tryAgain"), async () => location.reload())));
  }
}

/** @param {any} title @param {any} more @param {(() => Promise<any>) | null} [ask] */
function dead(title, more, ask = null) {
  const told = h("div");
  show(say(title), h("div", { class: "card" }, h("h1", null, say(title)), h("p", null, say(more)), told,
    ask ? button(say("ask"), async () => {
      await ask();
      replace(told, note("", say("asked")));
    }, { place: told }) : null));
}

addEventListener("hashchange", () => (location.hash.startsWith("#/") || location.hash === "" ? route() : begin()));
begin();
