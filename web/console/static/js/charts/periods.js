/**
 * Which days are looked at, as the address says: `?range=30d`, or `?range=own&from=…&to=…`.
 *
 * Days are bare dates, "2026-11-24", and are counted in UTC, where each has 24 hours.
 */

import { date } from "../format.js";

const DAY_MS = 86_400_000;
// The API's own limit.
const LONGEST_DAYS = 1100;

/** @type {[string, string][]} */
export const RANGES = [
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["90d", "90 days"],
  ["12m", "12 months"],
  ["own", "Own dates"],
];
/** @type {Record<string, number>} */
const DAYS = { "7d": 7, "30d": 30, "90d": 90 };
/** @type {Record<string, string>} */
const USUAL = { "7d": "day", "30d": "day", "90d": "week", "12m": "month" };
/** @type {[string, string][]} */
export const GRANULARITIES = [
  ["", "As fits"],
  ["day", "Days"],
  ["week", "Weeks"],
  ["month", "Months"],
];
const BUCKETS = { day: 1, week: 7, month: 30 };
// More than these cannot be told from one another in a drawing of a window's width.
const MOST_DAYS = 100;
const MOST_WEEKS = 60;

/**
 * @typedef {object} Period
 * @property {string} range
 * @property {string} from the first day
 * @property {string} to the last day, which belongs to it
 * @property {"day" | "week" | "month"} granularity
 * @property {boolean} isCompared with as many days before
 */

/**
 * Return the period that is asked for.
 *
 * @param {Record<string, string | undefined>} asked what the address or the form says
 * @param {string} today
 * @returns {Period}
 */
export function periodOf(asked, today) {
  const range = RANGES.some(([each]) => each === asked.range) ? /** @type {string} */ (asked.range) : "30d";
  const [from, to] = range === "own" ? [asked.from || plusDays(today, -29), asked.to || today] : [firstOf(range, today), today];
  const chosen = GRANULARITIES.some(([each]) => each === asked.granularity) ? asked.granularity : "";
  const granularity = /** @type {Period["granularity"]} */ (chosen || USUAL[range] || fitting(from, to));
  return { range, from, to, granularity, isCompared: asked.compare !== "no" };
}

/** Return why a period cannot be asked for, "" if it can. */
export function wrongOf(/** @type {Period} */ { from, to }) {
  if (!isDay(from) || !isDay(to)) {
    return "Write both days, such as 2026-11-24.";
  }
  if (from > to) {
    return "The first day comes after the last.";
  }
  return daysOf(from, to) > LONGEST_DAYS ? "Three years at most are shown at a time." : "";
}

/** Return how many days there are from the first to the last, both counted. */
export function daysOf(/** @type {string} */ from, /** @type {string} */ to) {
  return Math.round((Date.parse(to) - Date.parse(from)) / DAY_MS) + 1;
}

/** Return the day so many days later. */
export function plusDays(/** @type {string} */ day, /** @type {number} */ days) {
  return new Date(Date.parse(day) + days * DAY_MS).toISOString().slice(0, 10);
}

/** Return the days of a period in words: "26 Oct 2026 to 24 Nov 2026". */
export function spanText(/** @type {string} */ from, /** @type {string} */ to) {
  return from === to ? date(from) : `${date(from)} to ${date(to)}`;
}

/** @param {string} range @param {string} today */
function firstOf(range, today) {
  if (range !== "12m") {
    return plusDays(today, 1 - DAYS[range]);
  }
  const [year, month] = today.split("-").map(Number);
  return new Date(Date.UTC(year, month - 12, 1)).toISOString().slice(0, 10);
}

/** @param {string} from @param {string} to */
function fitting(from, to) {
  const days = daysOf(from, to);
  if (days <= MOST_DAYS) {
    return "day";
  }
  return days / BUCKETS.week <= MOST_WEEKS ? "week" : "month";
}

function isDay(/** @type {string} */ text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text));
}
