/**
 * A payment's history as a drawing: lanes from left to right, pauses shortened, what is to come at
 * the end. It repeats what the list beneath it says, so to a screen reader it is one picture.
 *
 *     drawTimeline({marks, coming, nowMs, span})
 */

import { h, svg } from "../dom.js";

/**
 * @typedef {object} Mark
 * @property {number} at in ms
 * @property {"states" | "attempts" | "webhooks" | "told"} lane
 * @property {string} tone
 * @property {string} title what is shown when pointed at
 * @property {string} [state] what it became, in the lane of states
 */

/** @typedef {{at: number, title: string, isSure: boolean}} Coming */

const LANES = /** @type {const} */ ([
  ["states", "State", 28],
  ["attempts", "Attempts", 66],
  ["webhooks", "Webhooks", 94],
  ["told", "Told", 122],
]);
const HEIGHT = 158;
const AXIS_Y = 142;
// How far the last state goes on.
const REST = 110;
// What lies closer together than this is drawn as one moment, side by side.
const MOMENT_MS = 40;
const STEP = 22;
// How much wider a pause is drawn that is ten times as long.
const BY_TEN = 14;
// The room that a state's name takes.
const NAME = 84;
// A pause longer than this is named on the axis.
const NAMED_PAUSE_MS = 60_000;

/**
 * Draw a history.
 *
 * @param {object} given
 * @param {Mark[]} given.marks oldest first
 * @param {Coming[]} given.coming
 * @param {number} given.nowMs
 * @param {(ms: number) => string} given.span how long a pause is, in words
 * @param {string} given.label
 * @returns {HTMLElement}
 */
export function drawTimeline({ marks, coming, nowMs, span, label }) {
  const axis = layOut(marks, coming, nowMs);
  const picture = svg(
    "svg",
    { role: "img", "aria-label": label, width: "100%", height: HEIGHT, class: "timeline-svg" },
    LANES.slice(1).map(([lane, , y]) =>
      svg("line", { x1: "0", x2: "100%", y1: y, y2: y, class: `lane lane-${lane}` }),
    ),
    axis.pauses.map(({ from, to, ms }) => drawPause(axis.place, from, to, span(ms))),
    drawStates(marks, axis, nowMs, coming.length > 0),
    marks.map((mark, number) => drawMark(mark, axis.place(axis.ofMarks[number]))),
    coming.length > 0 && drawNow(axis),
    coming.map((each, number) => drawComing(each, axis.place(axis.ofComing[number]))),
  );
  picture.style.minWidth = `${axis.width}px`;
  // A region that scrolls must be reachable by keys.
  const scroller = h("div", { class: "timeline-scroll", tabindex: "0", role: "group", "aria-label": "The drawing; it may scroll sideways" }, picture);
  showNow(scroller, axis.now / axis.width);
  return h(
    "div",
    { class: "timeline-drawing" },
    h(
      "div",
      { class: "timeline-names", "aria-hidden": "true" },
      LANES.map(([lane, name, y]) => h("span", { class: `tl-${lane}`, style: { top: `${y}px` } }, name)),
    ),
    scroller,
  );
}

/** Where not all of it fits, what was last and what is to come is seen first. */
function showNow(/** @type {HTMLElement} */ scroller, /** @type {number} */ share) {
  // Told once it is laid out, and when a phone is turned.
  const observer = new ResizeObserver(() => {
    scroller.scrollLeft = scroller.scrollWidth * share - scroller.clientWidth / 2;
  });
  observer.observe(scroller);
}

/** Say where each moment stands: pauses count by their logarithm, so that days fit beside moments. */
function layOut(/** @type {Mark[]} */ marks, /** @type {Coming[]} */ coming, /** @type {number} */ nowMs) {
  const ahead = coming.length > 0 ? [nowMs, ...coming.map((each) => each.at)] : [];
  const moments = [...marks.map((each) => each.at), ...ahead];
  const sorted = [...new Set(moments)].sort((one, other) => one - other);
  const places = new Map();
  const pauses = [];
  const changes = new Set(marks.filter((each) => each.state !== undefined).map((each) => each.at));
  let x = 24;
  // Where the name of the state before ends.
  let named = 0;
  sorted.forEach((at, number) => {
    const pause = number > 0 ? at - sorted[number - 1] : 0;
    const from = x;
    x += number === 0 ? 0 : widthOf(pause);
    if (changes.has(at)) {
      x = Math.max(x, named);
      named = x + NAME;
    }
    if (pause > NAMED_PAUSE_MS) {
      pauses.push({ from, to: x, ms: pause });
    }
    places.set(at, x);
  });
  const width = Math.ceil(x + (coming.length > 0 ? 40 : REST + 12));
  return {
    width,
    pauses,
    now: places.get(nowMs) ?? x,
    end: x,
    ofMarks: marks.map((each) => places.get(each.at)),
    ofComing: coming.map((each) => places.get(each.at)),
    place: (/** @type {number} */ at) => `${((100 * at) / width).toFixed(3)}%`,
  };
}

/** Return how wide a pause is drawn, in the drawing's own units. */
function widthOf(/** @type {number} */ ms) {
  return ms <= MOMENT_MS ? STEP / 2 : STEP + BY_TEN * Math.log10(ms / MOMENT_MS);
}

/** @param {(at: number) => string} place @param {number} from @param {number} to @param {string} told */
function drawPause(place, from, to, told) {
  return [
    svg("line", { x1: place(from), x2: place(to), y1: AXIS_Y, y2: AXIS_Y, class: "pause" }),
    svg("text", { x: place((from + to) / 2), y: AXIS_Y + 11, class: "pause-name" }, told),
  ];
}

/**
 * Draw the payment's states as a band, each from its move to the next.
 *
 * @param {Mark[]} marks @param {ReturnType<typeof layOut>} axis @param {number} nowMs
 * @param {boolean} goesOn
 */
function drawStates(marks, axis, nowMs, goesOn) {
  const moves = marks
    .map((mark, number) => ({ mark, from: axis.ofMarks[number] }))
    .filter(({ mark }) => mark.state !== undefined);
  return moves.map(({ mark, from }, number) => {
    const next = moves[number + 1]?.from ?? (goesOn ? axis.now : axis.end + REST);
    const place = { x: axis.place(from), y: 16, width: axis.place(Math.max(next - from, 4)), height: 24 };
    return [
      svg("rect", { ...place, rx: 4, class: `band tone-${mark.tone}` }, svg("title", {}, mark.title)),
      // Within a picture of its own a name that is too long is cut off, not drawn over the next.
      svg("svg", { ...place }, svg("text", { x: 7, y: 16, class: "band-name" }, mark.state ?? "")),
    ];
  });
}

/** @param {Mark} mark @param {string} x */
function drawMark(mark, x) {
  const y = LANES.find(([lane]) => lane === mark.lane)?.[2] ?? AXIS_Y;
  if (mark.lane === "states") {
    return null;
  }
  const shape = mark.lane === "told" ? 3.5 : 6;
  return svg(
    "circle",
    { cx: x, cy: y, r: shape, class: `mark mark-${mark.lane} tone-${mark.tone}` },
    svg("title", {}, mark.title),
  );
}

/** @param {ReturnType<typeof layOut>} axis */
function drawNow(axis) {
  const x = axis.place(axis.now);
  return [
    svg("line", { x1: x, x2: x, y1: 14, y2: AXIS_Y, class: "now" }),
    svg("text", { x, y: 11, class: "now-name" }, "now"),
  ];
}

/** @param {Coming} coming @param {string} x */
function drawComing(coming, x) {
  const kind = coming.isSure ? "is-sure" : "is-possible";
  return svg(
    "circle",
    { cx: x, cy: 66, r: 7, class: `coming ${kind}` },
    svg("title", {}, coming.title),
  );
}
