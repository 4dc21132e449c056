/** A payment's history: drawn, and beneath it told line by line with what caused each. */

import { serverNow } from "../clock.js";
import { h, replace } from "../dom.js";
import { date, dateTime, duration, status, timeOfDay } from "../format.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { drawTimeline } from "../ui/timeline.js";
import { panel } from "./parts.js";
import { LANE_NAMES, causesOf, headOf, laneOf, toneOf } from "./story.js";

/** @typedef {import("./story.js").Entry} Entry */
/** @typedef {import("./story.js").Lane} Lane */

const SECOND_MS = 1000;

/**
 * Return the panel of a payment's history.
 *
 * Lines are only ever added, so those that stand keep their places, open or closed.
 */
export function historyPanel() {
  const drawing = h("div");
  const state = h("div");
  const list = h("ol", { class: "history" });
  /** @type {Map<string, HTMLElement>} */
  let lines = new Map();
  /** @type {Set<Lane>} */
  const hidden = new Set();
  let known = "";
  const chips = h(
    "div",
    { class: "chips", role: "group", "aria-label": "Show in the history" },
    Object.entries(LANE_NAMES).map(([lane, name]) => chip(/** @type {Lane} */ (lane), name, hidden, () => filter(list, hidden))),
  );
  const drawn = panel("Timeline", drawing);
  const node = panel("What happened, and why", chips, state, list);

  /** @param {Entry[]} entries */
  function tell(entries) {
    const before = lines;
    lines = new Map();
    let day = "";
    const wanted = entries.flatMap((entry, number) => {
      const key = `${number} ${entry.at} ${entry.what} ${entry.subject_id}`;
      const line = before.get(key) ?? lineOf(entry);
      lines.set(key, line);
      const today = date(entry.at);
      const isNew = today !== day;
      day = today;
      return isNew ? [dayLine(today, before, lines), line] : [line];
    });
    wanted.forEach((line, number) => {
      if (list.children[number] !== line) {
        list.insertBefore(line, list.children[number] ?? null);
      }
    });
    while (list.children.length > wanted.length) {
      list.lastElementChild?.remove();
    }
    filter(list, hidden);
  }

  return {
    node,
    drawing: drawn,
    /** @param {import("../query.js").Result<any>} result @param {any} dunning @param {string} id of the payment */
    show(result, dunning, id) {
      const entries = result.data?.data ?? [];
      const coming = dunning?.transaction_id === id ? dunning.coming : [];
      const text = JSON.stringify([entries, coming, result.error?.title]);
      if (text === known && text !== "[[],[],null]") {
        return;
      }
      known = text;
      replace(state, shown(result, ({ data }) => (data.length ? null : empty("Nothing has happened yet"))));
      drawn.hidden = entries.length === 0;
      replace(drawing, entries.length > 0 ? pictureOf(entries, coming, id) : null);
      tell(entries);
    },
  };
}

/** @param {Lane} lane @param {string} name @param {Set<Lane>} hidden @param {() => void} change */
function chip(lane, name, hidden, change) {
  const node = h("button", { type: "button", class: "chip", "aria-pressed": "true", onClick: toggle }, name);
  function toggle() {
    const isShown = hidden.delete(lane);
    if (!isShown) {
      hidden.add(lane);
    }
    node.setAttribute("aria-pressed", String(isShown));
    change();
  }
  return node;
}

/** @param {HTMLElement} list @param {Set<Lane>} hidden */
function filter(list, hidden) {
  for (const line of list.children) {
    const lane = /** @type {HTMLElement} */ (line).dataset.lane;
    /** @type {HTMLElement} */ (line).hidden = lane !== undefined && hidden.has(/** @type {Lane} */ (lane));
  }
}

/** @param {string} day @param {Map<string, HTMLElement>} before @param {Map<string, HTMLElement>} lines */
function dayLine(day, before, lines) {
  const key = `day ${day} ${lines.size}`;
  const line = before.get(key) ?? h("li", { class: "history-day" }, day);
  lines.set(key, line);
  return line;
}

function lineOf(/** @type {Entry} */ entry) {
  const causes = causesOf(entry);
  return h(
    "li",
    { class: `history-line ${toneOf(entry)}`, dataset: { lane: laneOf(entry), what: entry.what } },
    h("time", { datetime: entry.at, title: dateTime(entry.at) }, timeOfDay(entry.at)),
    h(
      "details",
      null,
      h(
        "summary",
        null,
        h("span", { class: "history-head" }, headOf(entry)),
        h("span", { class: "quiet" }, ` ${entry.why}`),
      ),
      h("dl", { class: "pairs causes" }, causes.map(([name, value]) => [h("dt", null, name), h("dd", null, h("code", null, value))])),
    ),
  );
}

/** @param {Entry[]} entries @param {{at: string, is_scheduled: boolean}[]} coming @param {string} id */
function pictureOf(entries, coming, id) {
  const marks = entries
    .filter((entry) => laneOf(entry) !== "other")
    // Of the states only the payment's own make the band.
    .filter((entry) => entry.what !== "move" || entry.subject_id === id)
    .flatMap((entry) => marksOf(entry, id))
    .sort((one, other) => one.at - other.at);
  const moves = marks.filter((mark) => mark.state !== undefined).length;
  return [
    drawTimeline({
      marks,
      coming: coming.map((each) => ({
        at: Date.parse(each.at),
        title: `Retry ${dateTime(each.at)}${each.is_scheduled ? "" : ", if the one before is declined"}`,
        isSure: each.is_scheduled,
      })),
      nowMs: Math.max(serverNow(), ...marks.map((mark) => mark.at)),
      span: (ms) => duration(Math.round(ms / SECOND_MS)),
      label: `The payment from left to right: ${moves} changes of state, ${coming.length} retries to come. The list below says the same`,
    }),
    h("p", { class: "legend quiet", "aria-hidden": "true" }, icon("clock"), "Pauses are drawn shorter than they were."),
  ];
}

/**
 * Return how a line is drawn; that a payment begins is its first state, and an attempt besides.
 *
 * @param {Entry} entry @param {string} id
 * @returns {import("../ui/timeline.js").Mark[]}
 */
function marksOf(entry, id) {
  const at = Date.parse(entry.at);
  const title = `${headOf(entry)}, ${timeOfDay(entry.at)}: ${entry.why}`;
  const mark = { at, lane: /** @type {any} */ (laneOf(entry)), tone: toneOf(entry), title };
  if (entry.what === "move") {
    return [{ ...mark, state: status(entry.became ?? "") }];
  }
  const isBeginning = entry.what === "begun" && entry.subject_id === id;
  return isBeginning ? [{ ...mark, lane: "states", state: status("pending") }, mark] : [mark];
}
