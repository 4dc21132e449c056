/**
 * Drawings as SVG: lines, columns, columns upon one another, bars side by side. Colours, dashes and
 * letters are the style sheet's.
 */

import { svg } from "../dom.js";
import { linear, marksOf, thinned } from "./scale.js";

const TOP = 10;
const FOOT = 24;
const RIGHT = 10;
const LETTER = 6.7;
const LABEL_GAP = 14;
// Of a column's room, what it fills.
const FILL = 0.72;
const WIDEST_COLUMN = 46;
const LEAST_HEIGHT = 1.5;
const ROUND = 2;

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {(number | null)[]} values null where there is none
 */

/**
 * @typedef {object} Drawing
 * @property {"line" | "columns" | "stack"} kind
 * @property {Line[]} lines
 * @property {(number | null)[] | null} before of the period before, drawn with dashes
 * @property {string[]} labels beneath, one a value
 * @property {(value: number) => string} write a mark's value
 * @property {boolean} [isWhole]
 * @property {number} [top] the highest mark
 */

/**
 * Draw, and tell where the values stand across.
 *
 * @param {Drawing} drawing
 * @param {{width: number, height: number}} size
 * @returns {{node: any, places: number[], plot: {left: number, right: number, top: number, bottom: number}}}
 */
export function draw(drawing, { width, height }) {
  const { kind, lines, before, labels } = drawing;
  const marks = marksOf(heights(drawing), { isWhole: drawing.isWhole, top: drawing.top });
  const written = marks.map(drawing.write);
  const left = Math.round(Math.max(...written.map((each) => each.length)) * LETTER + LABEL_GAP);
  const plot = { left, right: width - RIGHT, top: TOP, bottom: height - FOOT };
  const up = linear(marks[0], /** @type {number} */ (marks.at(-1)), plot.bottom, plot.top);
  const places = placesOf(labels.length, plot, kind);
  const wide = Math.min(WIDEST_COLUMN, ((plot.right - plot.left) / Math.max(1, labels.length)) * FILL);
  const room = { places, up, wide };
  const node = svg(
    "svg",
    { class: "chart-svg", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", focusable: "false" },
    marks.map((mark, n) => [
      svg("line", { x1: plot.left, x2: plot.right, y1: up(mark), y2: up(mark), class: mark === 0 ? "chart-zero" : "chart-grid" }),
      svg("text", { x: plot.left - 8, y: up(mark) + 4, class: "chart-mark" }, written[n]),
    ]),
    labelsOf(labels, places, plot),
    kind === "line" ? linesOf(lines, room) : columnsOf(lines, room),
    before ? svg("path", { d: kind === "line" ? pathOf(before, room) : sillsOf(before, room), class: `chart-before is-${kind}` }) : null,
  );
  return { node, places, plot };
}

/** @param {Drawing} drawing @returns {number[]} everything that must have room */
function heights({ kind, lines, before }) {
  const own = kind === "stack" ? stackHeights(lines) : lines.flatMap(({ values }) => values);
  return [...own, ...(before ?? [])].filter((each) => each !== null);
}

/** @param {Line[]} lines */
function stackHeights(lines) {
  const length = Math.max(0, ...lines.map(({ values }) => values.length));
  return Array.from({ length }, (_, n) => lines.reduce((total, { values }) => total + Math.max(0, values[n] ?? 0), 0));
}

/** @param {number} count @param {{left: number, right: number}} plot @param {string} kind */
function placesOf(count, { left, right }, kind) {
  const room = (right - left) / Math.max(1, count);
  if (kind !== "line" || count === 1) {
    return Array.from({ length: count }, (_, n) => left + (n + 0.5) * room);
  }
  const across = linear(0, count - 1, left + 4, right - 4);
  return Array.from({ length: count }, (_, n) => across(n));
}

/** @param {string[]} labels @param {number[]} places @param {{left: number, right: number, bottom: number}} plot */
function labelsOf(labels, places, { left, right, bottom }) {
  const longest = Math.max(1, ...labels.map((each) => each.length)) * LETTER + LABEL_GAP;
  return thinned(labels.length, Math.floor((right - left) / longest)).map((n) => {
    const half = (labels[n].length * LETTER) / 2;
    const x = Math.min(places[n], right + RIGHT - half);
    return svg("text", { x, y: bottom + 17, class: "chart-label" }, labels[n]);
  });
}

/** @typedef {{places: number[], up: (value: number) => number, wide: number}} Room */

/** @param {Line[]} lines @param {Room} room */
function linesOf(lines, room) {
  return lines.map(({ values }, n) => [
    lines.length === 1 ? svg("path", { d: areaOf(values, room), class: "chart-area series-0" }) : null,
    svg("path", { d: pathOf(values, room), class: `chart-line series-${n}` }),
    alone(values).map((place) => svg("circle", { cx: room.places[place], cy: room.up(/** @type {number} */ (values[place])), r: 3, class: `chart-dot series-${n}` })),
  ]);
}

/** @param {Line[]} lines @param {Room} room */
function columnsOf(lines, { places, up, wide }) {
  return places.map((x, n) => {
    let reached = 0;
    return lines.map(({ values }, line) => {
      const value = values[n] ?? 0;
      if (value === 0) {
        return null;
      }
      const base = up(reached);
      reached += value;
      const height = Math.max(LEAST_HEIGHT, Math.abs(up(reached) - base));
      const y = value > 0 ? base - height : base;
      return svg("rect", { x: x - wide / 2, y, width: wide, height, rx: Math.min(ROUND, height / 2), class: `chart-column series-${line}` });
    });
  });
}

/** @param {(number | null)[]} values @param {Room} room */
function pathOf(values, { places, up }) {
  let isOn = false;
  return values
    .slice(0, places.length)
    .map((value, n) => {
      if (value === null) {
        isOn = false;
        return "";
      }
      const step = `${isOn ? "L" : "M"}${places[n].toFixed(1)} ${up(value).toFixed(1)}`;
      isOn = true;
      return step;
    })
    .join("");
}

/** A line as wide as its column, where that of the period before ended. */
function sillsOf(/** @type {(number | null)[]} */ values, /** @type {Room} */ { places, up, wide }) {
  return values
    .slice(0, places.length)
    .map((value, n) => (value ? `M${(places[n] - wide / 2 - 1).toFixed(1)} ${up(value).toFixed(1)}h${(wide + 2).toFixed(1)}` : ""))
    .join("");
}

/** What lies beneath a line, from the first value to the last; none where it has holes. */
function areaOf(/** @type {(number | null)[]} */ values, /** @type {Room} */ room) {
  if (values.length < 2 || values.includes(null)) {
    return "";
  }
  const ground = room.up(0).toFixed(1);
  return `${pathOf(values, room)}L${/** @type {number} */ (room.places[values.length - 1]).toFixed(1)} ${ground}L${room.places[0].toFixed(1)} ${ground}Z`;
}

/** Values with none beside them: a line of one point would not be seen. */
function alone(/** @type {(number | null)[]} */ values) {
  const isNone = (/** @type {number | null | undefined} */ each) => each === null || each === undefined;
  return values.flatMap((each, n) => (!isNone(each) && isNone(values[n - 1]) && isNone(values[n + 1]) ? [n] : []));
}
