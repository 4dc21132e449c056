/** From what the API answers of metrics to what a chart shows, as decimal text from end to end. */

import { compact, count, date, decimal, money, month, percent, shortDate, words } from "../format.js";

/**
 * @typedef {object} Kind what a chart is of
 * @property {string} id in the address and of its file
 * @property {string} title
 * @property {string} about what it is, in a sentence
 * @property {string[]} metrics the first is drawn; the others are for the table
 * @property {"money" | "share" | "count"} unit
 * @property {"line" | "columns" | "stack"} drawing
 * @property {"up" | "down"} [better] whether more is good
 * @property {boolean} [isParted] by dimension
 * @property {boolean} [isLevel] what stands at the end, and no sum
 * @property {(dimension: string) => string} [part] a dimension in words
 * @property {string} nothing what to say where nothing happened
 * @property {string} advice what would make something happen
 */

/**
 * @typedef {object} Model what is drawn, listed and saved
 * @property {string[]} dates when each value's day, week or month begins
 * @property {string[]} labels of the values, short
 * @property {string[]} spans of the values, in full
 * @property {{name: string, values: (string | null)[], total: string | null}[]} lines
 * @property {{dates: string[], values: (string | null)[], total: string | null} | null} before
 * @property {string} currency
 * @property {number} left how many parts are not drawn
 * @property {boolean} isEmpty
 */

// More lines than these cannot be told from one another.
export const MOST_LINES = 6;

/**
 * Return what a chart shows of an answer of `/metrics/series`.
 *
 * @param {Kind} kind
 * @param {any} answer
 * @param {{granularity: string, isCompared: boolean, currency?: string}} asked
 * @returns {Model}
 */
export function modelOf(kind, answer, { granularity, isCompared, currency = "" }) {
  const found = answer.data.filter((/** @type {any} */ each) => each.metric === kind.metrics[0]);
  const shownCurrency = kind.unit === "money" ? currencyOf(found, currency) : "";
  const series = found.filter((/** @type {any} */ each) => kind.unit !== "money" || each.currency === shownCurrency);
  const chosen = kind.isParted ? largest(series) : series.slice(0, 1);
  const dates = datesOf(chosen);
  const lines = chosen.map((/** @type {any} */ each) => ({ name: nameOf(kind, each), values: valuesAt(each.points, dates), total: text(each.total) }));
  const before = isCompared && !kind.isParted ? beforeOf(chosen[0]) : null;
  return {
    dates,
    labels: dates.map((each) => shortDate(each, granularity)),
    spans: dates.map((each) => spanOf(each, granularity)),
    lines,
    before,
    currency: shownCurrency,
    left: series.length - chosen.length,
    isEmpty: [...lines, before ?? { values: [] }].every(({ values }) => values.every((/** @type {string | null} */ each) => isNothing(each, kind))),
  };
}

/** Return the currencies in which an answer tells money, the company's own first. */
export function currenciesOf(/** @type {any} */ answer) {
  return [...new Set(answer.data.map((/** @type {any} */ each) => each.currency).filter(Boolean))];
}

/** @param {any[]} series @param {string} wanted */
function currencyOf(series, wanted) {
  const known = series.map(({ currency }) => currency);
  return known.includes(wanted) ? wanted : (known[0] ?? wanted);
}

/** Those that come to most; in the order of their names. */
function largest(/** @type {any[]} */ series) {
  const size = (/** @type {any} */ each) => Number(each.total ?? 0);
  const kept = [...series].sort((one, other) => size(other) - size(one)).slice(0, MOST_LINES);
  return kept.sort((one, other) => one.dimension.localeCompare(other.dimension, "en", { numeric: true }));
}

/** @param {any[]} series @returns {string[]} */
function datesOf(series) {
  return [...new Set(series.flatMap(({ points }) => points.map((/** @type {any} */ each) => each.date)))].sort();
}

/** @param {any[]} points @param {string[]} dates */
function valuesAt(points, dates) {
  const known = new Map(points.map((each) => [each.date, text(each.value)]));
  return dates.map((each) => known.get(each) ?? null);
}

function beforeOf(/** @type {any} */ series) {
  const previous = series?.previous;
  if (!previous?.points) {
    return null;
  }
  const { points } = previous;
  return { dates: points.map((/** @type {any} */ each) => each.date), values: points.map((/** @type {any} */ each) => text(each.value)), total: text(previous.total) };
}

/** @param {Kind} kind @param {any} series */
function nameOf(kind, { dimension }) {
  return kind.isParted ? (kind.part ?? words)(dimension || "other") : kind.title;
}

/** @param {string | null} value @param {Kind} kind */
function isNothing(value, { unit }) {
  return value === null || (unit !== "share" && Number(value) === 0);
}

function text(/** @type {any} */ value) {
  return value === null || value === undefined ? null : String(value);
}

function spanOf(/** @type {string} */ day, /** @type {string} */ granularity) {
  if (granularity === "month") {
    return month(day);
  }
  return granularity === "week" ? `Week of ${date(day)}` : date(day);
}

/**
 * Return a value as people read it.
 *
 * @param {Kind["unit"]} unit @param {string | null} value @param {string} currency
 */
export function written(unit, value, currency) {
  if (value === null) {
    return "—";
  }
  if (unit === "money") {
    return money(value, currency);
  }
  return unit === "share" ? percent(value) : decimal(value);
}

/** @param {Kind["unit"]} unit @param {number} value @param {string} currency */
export function marked(unit, value, currency) {
  if (unit === "share") {
    return percent(value);
  }
  return compact(value, unit === "money" ? currency : "");
}

/**
 * Return how it compares with the period before, in words and as it is felt; null where it is not.
 *
 * @param {Kind} kind
 * @param {Model} model
 * @returns {{text: string, tone: "good" | "bad" | "calm", was: string} | null}
 */
export function changeOf(kind, { lines, before, currency }) {
  const [line] = lines;
  if (!before || !line || line.total === null || before.total === null) {
    return null;
  }
  const was = written(kind.unit, before.total, currency);
  const [now, then] = [Number(line.total), Number(before.total)];
  if (now === then) {
    return { text: "The same", tone: "calm", was };
  }
  const isUp = now > then;
  const isGood = isUp === ((kind.better ?? "up") === "up");
  return { text: `${isUp ? "Up" : "Down"}${size(kind.unit, now, then)}`, tone: isGood ? "good" : "bad", was };
}

/** A share changes by points; what began at nothing has no share by which it grew. */
function size(/** @type {Kind["unit"]} */ unit, /** @type {number} */ now, /** @type {number} */ then) {
  if (unit === "share") {
    const points = Math.round(Math.abs(now - then) * 1000) / 10;
    return ` ${count(points)} ${points === 1 ? "point" : "points"}`;
  }
  return then === 0 ? "" : ` ${percent(Math.abs((now - then) / then))}`;
}

/**
 * Return a chart's values as rows, the names of the columns first.
 *
 * @param {Kind} kind @param {Model} model
 * @returns {(string | null)[][]}
 */
export function rowsOf(kind, { dates, lines, before, currency }) {
  const unit = kind.unit === "money" && currency ? ` (${currency})` : "";
  const names = ["date", ...lines.map(({ name }) => name + unit), ...(before ? ["date before", `Period before${unit}`] : [])];
  const rows = dates.map((day, n) => [day, ...lines.map(({ values }) => values[n]), ...(before ? [before.dates[n] ?? null, before.values[n] ?? null] : [])]);
  return [names, ...rows];
}
