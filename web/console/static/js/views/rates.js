/** Exchange rates: of when the newest are, what some of them are, and asking the source again. */

import { api } from "../api.js";
import { h } from "../dom.js";
import { dateTime, time } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { button, panel, redrawn, seen } from "./parts.js";
import { named } from "./words.js";

const SHOWN = ["INR", "EUR", "GBP", "JPY"];
const DIGITS = 6;
/** @type {Record<string, [string, string]>} */
const FETCHED = {
  owed: ["Asked just now", "warn"],
  stored: ["Kept", "good"],
  unchanged: ["Nothing new", "good"],
  refused: ["Refused", "bad"],
  failed: ["No answer", "bad"],
};

/** Return a rate as people read it; the exact one is the API's. */
export function rateText(/** @type {string | number} */ rate) {
  return Number(rate).toLocaleString(navigator.language, { maximumSignificantDigits: DIGITS });
}

/** Return the panel, what asks anew, and what ends it. */
export function ratesPanel() {
  const known = h("div");
  const asked = h("div");
  const drawKnown = redrawn(known, (/** @type {any} */ result) => shown(result, drawnRates));
  const drawAsked = redrawn(asked, (/** @type {any} */ result) => shown(result, drawnFetch));
  const rates = query(["fx", "rates"], ({ signal }) => api.get("/fx/rates", { signal }));
  const fetches = query(["fx", "fetches"], ({ signal }) => api.get("/fx/fetches", { query: { limit: 1 }, signal }));
  const stops = [watch(rates, (result) => drawKnown(seen(result)))];
  const isOperator = can("operations");
  if (isOperator) {
    stops.push(watch(fetches, (result) => drawAsked(seen(result))));
  }
  const refresh = button("refresh", "Ask the source now", async () => {
    await api.post("/fx/refresh", {});
    toast("The source is asked.", { tone: "good" });
    invalidate(["fx"]);
  });
  return {
    node: panel("Exchange rates", h("div", { class: "vital" }, known, isOperator ? [asked, refresh] : null)),
    again() {
      void rates.refetch();
      if (isOperator) {
        void fetches.refetch();
      }
    },
    stop: () => stops.forEach((stop) => stop()),
  };
}

function drawnRates(/** @type {any} */ told) {
  if (told.data.length === 0) {
    return empty("No rates yet", "Sums of several currencies are told one by one until a source has told some.");
  }
  const some = told.data.filter((/** @type {any} */ each) => SHOWN.includes(each.currency));
  return [
    badge(told.is_stale ? "stale" : "fresh", { text: told.is_stale ? "Too old" : "Fresh", tone: told.is_stale ? "bad" : "good" }),
    h("p", { class: "quiet" }, `One ${told.base}, as ${named(told.source)} had it `, time(told.as_of), "."),
    h(
      "ul",
      { class: "lines" },
      some.map((/** @type {any} */ each) => h("li", null, h("strong", null, each.currency), h("span", { class: "number", title: dateTime(each.as_of) }, rateText(each.rate)))),
    ),
  ];
}

function drawnFetch(/** @type {any} */ { data: [last] }) {
  if (!last) {
    return h("p", { class: "quiet" }, "Nobody has asked the source yet.");
  }
  const [text, tone] = FETCHED[last.status] ?? [last.status, "calm"];
  return h("p", null, "Asked ", time(last.created_at), " ", badge(last.status, { text, tone }), last.error ? h("span", { class: "quiet wrap" }, " ", last.error) : null);
}
