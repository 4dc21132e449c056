/** What happened over days: charts of money, payments, usage and errors, each also a table and a file. */

import { api } from "../api.js";
import { card } from "../charts/card.js";
import { KINDS } from "../charts/kinds.js";
import { GRANULARITIES, RANGES, periodOf, spanText, wrongOf } from "../charts/periods.js";
import { currenciesOf } from "../charts/series.js";
import { h, replace } from "../dom.js";
import { date, today } from "../format.js";
import { follow, invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { field, input, select } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { shown } from "../ui/states.js";
import { button, heading } from "./parts.js";

export const AT = "/analytics";
const SERIES = "/metrics/series";
// Roll-ups are made every few minutes.
const AGAIN_MS = 60_000;
// Which metrics there are changes with a deployment only.
const NAMES_MS = 3_600_000;

/** @type {[string, string][]} */
const PARTS = [
  [AT, "Charts"],
  [`${AT}/reports`, "Reports"],
  [`${AT}/schedules`, "Schedules"],
];

/**
 * Return a view's frame: the heading of all about analytics, and links from one to another.
 *
 * @param {string} path of the one that is shown
 * @param {import("../dom.js").Child} acts
 * @param {...import("../dom.js").Child} children
 */
export function frame(path, acts, ...children) {
  const links = PARTS.map(([to, name]) => h("li", null, h("a", { href: href(to), "aria-current": to === path ? "page" : null }, name)));
  return h("section", null, heading("Analytics", acts), h("nav", { class: "tabs", "aria-label": "Analytics" }, h("ul", null, links)), children);
}

/** @type {import("../router.js").View} */
export const analytics = {
  path: AT,
  title: "Analytics",
  nav: { label: "Analytics", icon: "chart" },
  needsCompany: true,
  permission: "analytics:read",
  show(context) {
    const cards = KINDS.map((kind) => ({ kind, ...card(kind, context.signal) }));
    const told = h("div", { class: "chart-notes", role: "status" });
    const grid = h("div", { class: "charts" }, cards.map((each) => each.node));
    const form = periodForm(context, ask);
    /** @type {Record<"whole" | "parted", any>} */
    const answers = { whole: undefined, parted: undefined };
    const results = {
      whole: follow((result) => show("whole", result)),
      parted: follow((result) => show("parted", result)),
    };

    function show(/** @type {"whole" | "parted"} */ which, /** @type {any} */ result) {
      answers[which] = result.data;
      const asked = { ...form.period(), currency: form.currency() };
      for (const each of cards.filter(({ kind }) => Boolean(kind.isParted) === (which === "parted"))) {
        each.show(result, asked);
      }
      if (which === "whole" && result.data && !result.isPrevious) {
        form.offer(currenciesOf(result.data));
        replace(told, notesOf(result.data, asked));
      }
    }

    /** Which metrics the server has; null until it says. */
    /** @type {Set<string> | null} */
    let known = null;
    const names = query(["metrics", "names"], ({ signal }) => api.get("/metrics", { signal }), { staleMs: NAMES_MS });
    const stopNames = watch(names, (result) => {
      if (result.data) {
        const isFirst = known === null;
        const told = new Set(result.data.data.map((/** @type {any} */ each) => each.name));
        known = told;
        cards.forEach(({ kind, node: each }) => {
          each.hidden = !kind.metrics.every((metric) => told.has(metric));
        });
        if (isFirst) {
          ask();
        }
      } else {
        replace(told, shown(result, () => null, { lines: 8 }));
      }
      grid.hidden = !result.data;
    });

    function ask() {
      if (known === null) {
        return;
      }
      const has = known;
      const period = form.period();
      for (const which of /** @type {const} */ (["whole", "parted"])) {
        const isParted = which === "parted";
        const metrics = KINDS.filter((kind) => Boolean(kind.isParted) === isParted).flatMap((kind) => kind.metrics).filter((each) => has.has(each));
        if (metrics.length === 0) {
          continue;
        }
        const asked = {
          metrics: metrics.join(","),
          from: period.from,
          to: period.to,
          granularity: period.granularity,
          by: isParted ? "dimension" : null,
          compare: period.isCompared && !isParted ? "previous" : null,
          currency: form.currency() || null,
        };
        results[which].show(query(["metrics", "series", asked], ({ signal }) => api.get(SERIES, { query: asked, signal })));
      }
    }

    const timer = setInterval(() => invalidate(["metrics", "series"]), AGAIN_MS);
    const again = button("refresh", "Look again", () => invalidate(["metrics"]));
    const node = frame(AT, again, form.node, told, grid);
    return {
      node,
      stop() {
        clearInterval(timer);
        stopNames();
        results.whole.stop();
        results.parted.stop();
      },
    };
  },
};

/**
 * The choice of days, which stands in the address.
 *
 * @param {import("../router.js").Context} context
 * @param {() => void} changed
 */
function periodForm(context, changed) {
  /** @type {Record<string, string>} */
  const asked = Object.fromEntries(["range", "from", "to", "granularity", "compare", "currency"].map((name) => [name, context.query.get(name) ?? ""]));
  let period = periodOf(asked, today());
  if (wrongOf(period)) {
    period = periodOf({ ...asked, range: "30d" }, today());
  }
  const chips = RANGES.map(([range, name]) => h("button", { type: "button", class: "chip", dataset: { range }, onClick: () => choose({ range }) }, name));
  const from = field("From", input({ type: "date", name: "from" }));
  const to = field("To", input({ type: "date", name: "to" }));
  const own = h("div", { class: "own-days", role: "group", "aria-label": "Own dates" }, from.node, to.node);
  const by = field("By", select({ name: "granularity", value: asked.granularity }, GRANULARITIES));
  const currency = field("Money in", select({ name: "currency", value: asked.currency }, [["", "Company's currency"]]));
  const compare = field("Compare with the period before", input({ type: "checkbox", name: "compare", checked: period.isCompared }));
  const node = h(
    "form",
    { class: "filters period", role: "search", "aria-label": "Which days" },
    h("div", { class: "chips", role: "group", "aria-label": "Days" }, chips),
    own,
    by.node,
    currency.node,
    compare.node,
  );
  node.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  node.addEventListener("change", () => {
    const days = { from: from.control.value, to: to.control.value };
    choose({ granularity: by.control.value, currency: currency.control.value, compare: compare.control.checked ? "" : "no", ...(period.range === "own" ? days : {}) });
  });

  function choose(/** @type {Record<string, string>} */ patch) {
    if (patch.range === "own" && period.range !== "own") {
      // What is shown is where one's own days begin.
      Object.assign(patch, { from: period.from, to: period.to });
    }
    Object.assign(asked, patch);
    const wanted = periodOf(asked, today());
    const wrong = wrongOf(wanted);
    to.setError(wrong || null);
    if (wrong) {
      return;
    }
    period = wanted;
    const isOwn = period.range === "own";
    context.setQuery({ ...asked, from: isOwn ? period.from : "", to: isOwn ? period.to : "" });
    draw();
    changed();
  }

  function draw() {
    chips.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.range === period.range)));
    own.hidden = period.range !== "own";
    from.control.value = period.from;
    to.control.value = period.to;
  }

  draw();
  return {
    node,
    period: () => period,
    currency: () => asked.currency,
    /** Let money be seen in a currency in which there is some. */
    offer(/** @type {string[]} */ found) {
      const known = new Set([...currency.control.options].map((/** @type {HTMLOptionElement} */ each) => each.value));
      for (const each of [asked.currency, ...found].filter((code) => code && !known.has(code))) {
        known.add(each);
        currency.control.append(h("option", { value: each }, each));
      }
      currency.control.value = asked.currency;
    },
  };
}

/** What must be known of what is shown. */
function notesOf(/** @type {any} */ answer, /** @type {any} */ asked) {
  const stale = answer.stale_rates ?? [];
  const names = stale.map((/** @type {any} */ each) => (typeof each === "string" ? each : `${each.currency}${each.as_of ? ` (of ${date(each.as_of)})` : ""}`));
  return [
    h("p", { class: "quiet" }, `${spanText(answer.from ?? asked.from, answer.to ?? asked.to)}.`),
    names.length > 0 ? h("p", { class: "told warn" }, icon("alert"), h("span", null, `Exchange rates are too old for ${names.join(", ")}; sums that need them are by the last ones known.`)) : null,
  ];
}
