/** One chart: its figure in a word, the drawing, the same as a table, and as a file. */

import { h, newId, replace } from "../dom.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { saveRows } from "./csv.js";
import { figure } from "./figure.js";
import { spanText } from "./periods.js";
import { changeOf, marked, modelOf, rowsOf, written } from "./series.js";


/**
 * Return a chart's card.
 *
 * @param {import("./series.js").Kind} kind
 * @param {AbortSignal} signal ends it
 */
export function card(kind, signal) {
  const id = newId("chart");
  const drawing = figure(signal);
  const told = h("div", { class: "chart-told" });
  const body = h("div", { class: "chart-body" });
  const legend = h("div");
  const listed = h("div", { class: "chart-list", tabindex: "0", role: "region", "aria-label": `${kind.title} as a table` });
  const asTable = h("button", { type: "button", class: "plain", "aria-pressed": "false", "aria-label": `Table: ${kind.title}` }, icon("list"), "Table");
  const asFile = h("button", { type: "button", class: "plain", "aria-label": `CSV: ${kind.title}` }, icon("download"), "CSV");
  const node = h(
    "section",
    { class: "card panel chart", "aria-labelledby": id, dataset: { chart: kind.id } },
    h("header", null, h("h2", { id }, kind.title), h("div", { class: "actions" }, asTable, asFile)),
    h("p", { class: "quiet chart-about" }, kind.about),
    told,
    body,
  );
  let isTable = false;
  let known = "";
  /** @type {import("./series.js").Model | null} */
  let model = null;
  /** @type {any} */
  let period = null;

  asTable.addEventListener("click", () => {
    isTable = !isTable;
    asTable.setAttribute("aria-pressed", String(isTable));
    fill();
  });
  asFile.addEventListener("click", () => {
    if (model) {
      saveRows(rowsOf(kind, model), `${kind.id}-${period.from}-${period.to}.csv`);
    }
  });

  function fill() {
    const isNone = model === null || model.isEmpty;
    asTable.hidden = isNone;
    asFile.hidden = isNone;
    if (!model || model.isEmpty) {
      replace(told);
      replace(body, model ? empty(kind.nothing, kind.advice) : null);
      return;
    }
    replace(told, totals(kind, model, period));
    replace(legend, legendOf(kind, model, period));
    replace(listed, tableOf(kind, model));
    replace(body, isTable ? listed : drawing.node, isTable ? null : legend);
    if (!isTable) {
      drawing.show(shownOf(kind, model));
    }
  }

  return {
    node,
    /** @param {import("../query.js").Result<any>} result @param {any} asked the period and the currency */
    show(result, asked) {
      node.setAttribute("aria-busy", String(result.isLoading || result.isPrevious));
      node.classList.toggle("previous", result.isPrevious);
      if (result.data === undefined) {
        known = "";
        model = null;
        fill();
        replace(body, shown(result, () => null, { lines: 5 }));
        return;
      }
      const text = JSON.stringify([result.data, asked, result.error?.title]);
      if (text === known || result.isPrevious) {
        return;
      }
      known = text;
      period = asked;
      model = modelOf(kind, result.data, asked);
      fill();
      if (result.error) {
        body.prepend(h("div", null, shown(result, () => null)));
      }
    },
  };
}

/** @param {import("./series.js").Kind} kind @param {import("./series.js").Model} model @param {any} period */
function totals(kind, model, period) {
  if (kind.isParted) {
    return null;
  }
  const [line] = model.lines;
  const change = changeOf(kind, model);
  return [
    h("p", { class: "figure" }, written(kind.unit, line?.total ?? null, model.currency)),
    change ? h("p", { class: "chart-change" }, h("span", { class: `badge ${change.tone}` }, change.text), h("span", { class: "quiet" }, ` from ${change.was} in the ${beforeWords(period)}`)) : null,
  ];
}

function beforeWords(/** @type {any} */ period) {
  return period.range === "12m" ? "12 months before" : "period before";
}

/** @param {import("./series.js").Kind} kind @param {import("./series.js").Model} model @param {any} period */
function legendOf(kind, model, period) {
  const lines = model.lines.map((line, n) => h("li", null, h("i", { class: `swatch series-${n}` }), line.name, kind.isParted ? h("strong", { class: "number" }, ` ${written(kind.unit, line.total, model.currency)}`) : null));
  const { before } = model;
  const first = before?.dates[0];
  if (before && first) {
    lines.push(h("li", null, h("i", { class: "swatch is-before" }), `Period before, from ${spanText(first, first)}`));
  }
  const left = model.left > 0 ? h("li", { class: "quiet" }, `and ${model.left} more, which a report lists`) : null;
  return lines.length > 1 || kind.isParted ? h("ul", { class: "chart-legend", "aria-label": `${kind.title}, ${spanText(period.from, period.to)}` }, lines, left) : null;
}

/** @param {import("./series.js").Kind} kind @param {import("./series.js").Model} model */
function tableOf(kind, model) {
  const { lines, before, currency } = model;
  const cell = (/** @type {string | null} */ value) => h("td", { class: "number" }, written(kind.unit, value, currency));
  return h(
    "table",
    null,
    h("caption", { class: "visually-hidden" }, kind.title),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "When"), lines.map(({ name }) => h("th", { scope: "col", class: "number" }, name)), before ? h("th", { scope: "col", class: "number" }, "Period before") : null)),
    h("tbody", null, model.spans.map((span, n) => h("tr", null, h("th", { scope: "row" }, span), lines.map(({ values }) => cell(values[n])), before ? cell(before.values[n] ?? null) : null))),
  );
}

/** @param {import("./series.js").Kind} kind @param {import("./series.js").Model} model */
function shownOf(kind, model) {
  const { lines, before, currency } = model;
  const number = (/** @type {string | null} */ value) => (value === null ? null : Number(value));
  return {
    name: kind.title,
    drawing: {
      kind: kind.drawing,
      lines: lines.map(({ name, values }) => ({ name, values: values.map(number) })),
      before: before ? before.values.slice(0, model.dates.length).map(number) : null,
      labels: model.labels,
      write: (/** @type {number} */ value) => marked(kind.unit, value, currency),
      isWhole: kind.unit === "count",
      top: kind.unit === "share" ? 1 : Infinity,
    },
    tell: (/** @type {number} */ place) => ({
      title: model.spans[place],
      lines: [
        ...lines.map(({ name, values }, n) => ({ text: `${kind.isParted ? `${name}: ` : ""}${written(kind.unit, values[place], currency)}`, swatch: `series-${n}` })),
        ...(before ? [{ text: `Period before: ${written(kind.unit, before.values[place] ?? null, currency)}`, swatch: "is-before" }] : []),
      ],
    }),
  };
}
