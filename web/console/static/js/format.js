/**
 * Money, counts and times in the reader's own way of writing them.
 *
 * Amounts are decimal text and stay text: Intl formats text exactly, where a number of fifteen
 * digits would be rounded.
 */

import { serverNow } from "./clock.js";
import { h } from "./dom.js";

const MINUTE_S = 60;
const HOUR_S = 60 * MINUTE_S;
const DAY_S = 24 * HOUR_S;
// Each span of seconds is told in the unit beside it, up to the next.
/** @type {[number, Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  [MINUTE_S, "second", 1],
  [HOUR_S, "minute", MINUTE_S],
  [DAY_S, "hour", HOUR_S],
  [30 * DAY_S, "day", DAY_S],
  [365 * DAY_S, "month", 30 * DAY_S],
  [Infinity, "year", 365 * DAY_S],
];
const JUST_NOW_S = 5;

/** @type {Map<string, any>} */
const formats = new Map();

/**
 * What the reader prefers; what is not said is the browser's.
 *
 * @type {{language?: string | null, timeZone?: string | null, currencyDisplay?: any}}
 */
let wanted = {};

/** Write as this reader prefers from now on. */
export function writeAs(/** @type {typeof wanted} */ preferred) {
  wanted = { ...preferred, timeZone: isKnown(preferred.timeZone) ? preferred.timeZone : null };
  formats.clear();
}

/** The server may know a zone that this browser does not. */
function isKnown(/** @type {string | null | undefined} */ timeZone) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: timeZone ?? "UTC" }));
  } catch {
    return false;
  }
}

/** The browser's own kind of the language, where it is the same one: en-GB for en. */
function locale() {
  const { language } = wanted;
  return language && !navigator.language.startsWith(language) ? language : navigator.language;
}

function zoned() {
  return wanted.timeZone ?? undefined;
}

/**
 * A format is dear to make and cheap to use.
 *
 * @template T
 * @param {string} name
 * @param {() => T} make
 * @returns {T}
 */
function kept(name, make) {
  const id = `${locale()} ${name}`;
  if (!formats.has(id)) {
    formats.set(id, make());
  }
  return formats.get(id);
}

/**
 * Return money as text: `money("1234.50", "INR")` is "₹1,234.50".
 *
 * @param {string | number} amount in the main unit; text for exactness
 * @param {string} currency
 */
export function money(amount, currency) {
  const format = kept(`money ${currency}`, () => currencyFormat(currency));
  // Text: engines take it for a decimal of any length.
  return format.format(/** @type {any} */ (String(amount)));
}

/** A code that Intl does not take is put in front of a plain number. */
function currencyFormat(/** @type {string} */ currency) {
  try {
    const { currencyDisplay = "symbol" } = wanted;
    return new Intl.NumberFormat(locale(), { style: "currency", currency, currencyDisplay });
  } catch {
    const plain = new Intl.NumberFormat(locale(), { minimumFractionDigits: 2 });
    return { format: (/** @type {any} */ amount) => `${currency} ${plain.format(amount)}` };
  }
}

/**
 * Return the exact sum of decimal texts, such as `sum(["0.10", "0.20"])`, which is "0.30".
 *
 * @param {(string | number)[]} amounts
 */
export function sum(amounts) {
  const parts = amounts.map((amount) => String(amount).split("."));
  const digits = Math.max(0, ...parts.map(([, fraction = ""]) => fraction.length));
  let total = 0n;
  for (const [whole, fraction = ""] of parts) {
    total += BigInt(whole + fraction.padEnd(digits, "0"));
  }
  return pointed(total, digits);
}

/** Return how many digits a currency has after the point; Infinity if nobody here knows. */
export function digitsOf(/** @type {string} */ currency) {
  try {
    const format = new Intl.NumberFormat("en", { style: "currency", currency });
    return format.resolvedOptions().maximumFractionDigits ?? Infinity;
  } catch {
    return Infinity;
  }
}

/** Return an amount with all of its currency's digits, as somebody would type it: "398.50". */
export function typed(/** @type {string | number} */ amount, /** @type {string} */ currency) {
  const [whole, fraction = ""] = String(amount).split(".");
  const digits = digitsOf(currency);
  const filled = Number.isFinite(digits) ? fraction.padEnd(digits, "0") : fraction;
  return whole + (filled ? `.${filled}` : "");
}

/** Return an amount of the currency's smallest unit, in which providers count: 39850 is "398.50". */
export function inMainUnit(/** @type {number} */ minor, /** @type {string} */ currency) {
  const digits = digitsOf(currency);
  return pointed(BigInt(minor), Number.isFinite(digits) ? digits : 2);
}

/** @param {bigint} total @param {number} digits */
function pointed(total, digits) {
  const sign = total < 0n ? "-" : "";
  const text = String(total < 0n ? -total : total).padStart(digits + 1, "0");
  const at = text.length - digits;
  return sign + text.slice(0, at) + (digits ? `.${text.slice(at)}` : "");
}

/** Return a count: 12,345. */
export function count(/** @type {number | string} */ value) {
  return kept("count", () => new Intl.NumberFormat(locale())).format(
    /** @type {any} */ (value),
  );
}

/** Return a decimal text with all of its digits but zeros at the end: "1234.5000" is "1,234.5". */
export function decimal(/** @type {string} */ value) {
  const options = /** @type {const} */ ({ maximumFractionDigits: 20 });
  return kept("decimal", () => new Intl.NumberFormat(locale(), options)).format(/** @type {any} */ (value));
}

/** Return a share as text: `percent("0.973")` is "97.3%". */
export function percent(/** @type {number | string} */ share) {
  const options = /** @type {const} */ ({ style: "percent", maximumFractionDigits: 1 });
  return kept("percent", () => new Intl.NumberFormat(locale(), options)).format(/** @type {any} */ (share));
}

/**
 * Return about how much, in few letters, for the edge of a drawing: "1.2M", "₹40K".
 *
 * @param {number} value
 * @param {string} [currency]
 */
export function compact(value, currency = "") {
  const options = /** @type {const} */ ({ notation: "compact", maximumFractionDigits: 2 });
  const format = kept(`compact ${currency}`, () => {
    try {
      const { currencyDisplay = "symbol" } = wanted;
      const isNamed = currencyDisplay === "name";
      return new Intl.NumberFormat(locale(), currency ? { ...options, minimumFractionDigits: 0, style: "currency", currency, currencyDisplay: isNamed ? "symbol" : currencyDisplay } : options);
    } catch {
      return new Intl.NumberFormat(locale(), options);
    }
  });
  return format.format(value);
}

/** Return the day, week or month that begins with a bare date, in few letters: "24 Nov", "Nov 2026". */
export function shortDate(/** @type {string} */ day, granularity = "day") {
  const parts = /** @type {const} */ (granularity === "month" ? { month: "short", year: "2-digit" } : { day: "numeric", month: "short" });
  return kept(`short ${granularity}`, () => new Intl.DateTimeFormat(locale(), { ...parts, timeZone: "UTC" })).format(new Date(day));
}

/** Return the month of a bare date: "November 2026". */
export function month(/** @type {string} */ day) {
  const options = /** @type {const} */ ({ month: "long", year: "numeric", timeZone: "UTC" });
  return kept("month", () => new Intl.DateTimeFormat(locale(), options)).format(new Date(day));
}

/** Return today's date where the reader is, as bare text: "2026-11-24". */
export function today(at = serverNow()) {
  const options = /** @type {const} */ ({ timeZone: zoned(), year: "numeric", month: "2-digit", day: "2-digit" });
  return kept("today", () => new Intl.DateTimeFormat("en-CA", options)).format(at);
}

/** Return the moment in full: date and time with seconds. */
export function dateTime(/** @type {string | number | Date} */ at) {
  const options = /** @type {const} */ ({ dateStyle: "medium", timeStyle: "medium", timeZone: zoned() });
  return kept("dateTime", () => new Intl.DateTimeFormat(locale(), options)).format(
    new Date(at),
  );
}

/** Return the day. A bare date such as "2026-12-31" is that day in every time zone. */
export function date(/** @type {string | number | Date} */ at) {
  const isBare = typeof at === "string" && at.length === "2026-12-31".length;
  const zone = isBare ? "UTC" : zoned();
  const options = /** @type {const} */ ({ dateStyle: "medium", timeZone: zone });
  return kept(`date ${zone}`, () => new Intl.DateTimeFormat(locale(), options)).format(
    new Date(at),
  );
}

/** Return the time of the day: 14:05:09. */
export function timeOfDay(/** @type {string | number | Date} */ at) {
  const options = /** @type {const} */ ({ timeStyle: "medium", timeZone: zoned() });
  return kept("timeOfDay", () => new Intl.DateTimeFormat(locale(), options)).format(
    new Date(at),
  );
}

/** Return how far from now: "3 minutes ago", "in 2 days", "just now". */
export function relative(/** @type {string | number | Date} */ at, now = serverNow()) {
  const seconds = (new Date(at).getTime() - now) / 1000;
  const size = Math.abs(seconds);
  if (size < JUST_NOW_S) {
    return "just now";
  }
  const [, unit, length] = /** @type {[number, Intl.RelativeTimeFormatUnit, number]} */ (
    UNITS.find(([below]) => size < below)
  );
  const options = /** @type {const} */ ({ numeric: "auto" });
  const format = kept("relative", () => new Intl.RelativeTimeFormat(locale(), options));
  return format.format(Math.round(seconds / length), unit);
}

/** Return a length of time in its two largest units: "2 d 3 h", "4 min", "12 s", "350 ms". */
export function duration(/** @type {number} */ seconds) {
  if (seconds < 1) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  /** @type {[string, number][]} */
  const units = [["d", DAY_S], ["h", HOUR_S], ["min", MINUTE_S], ["s", 1]];
  let left = Math.round(seconds);
  const parts = [];
  for (const [unit, length] of units) {
    const whole = Math.floor(left / length);
    left -= whole * length;
    if (whole > 0) {
      parts.push(`${count(whole)} ${unit}`);
    } else if (parts.length > 0) {
      break;
    }
  }
  return parts.slice(0, 2).join(" ");
}

/**
 * Return a <time>: how far from now, with the moment in full as its title; it stays right by itself.
 *
 * @param {string | number | Date | null | undefined} at
 * @param {{isFull?: boolean}} [options] the moment in full, with how far as the title
 */
export function time(at, { isFull = false } = {}) {
  if (at === null || at === undefined) {
    return h("span", { class: "quiet" }, "—");
  }
  const iso = new Date(at).toISOString();
  const node = h("time", { datetime: iso, class: isFull ? null : "relative" });
  if (isFull) {
    node.textContent = dateTime(iso);
    node.title = relative(iso);
  } else {
    node.textContent = relative(iso);
    node.title = dateTime(iso);
  }
  return node;
}

const AGE_EVERY_MS = 15_000;

/** Let every relative time of the page age; while nobody looks it may be wrong. */
export function ageTimes() {
  const age = () => {
    if (document.visibilityState === "visible") {
      for (const node of document.querySelectorAll("time.relative")) {
        const text = relative(/** @type {HTMLTimeElement} */ (node).dateTime);
        if (node.textContent !== text) {
          node.textContent = text;
        }
      }
    }
  };
  setInterval(age, AGE_EVERY_MS);
  document.addEventListener("visibilitychange", age);
}

/** Words for a word of the API: "requires_action" is "Needs the customer". */
export function status(/** @type {string} */ word) {
  return STATUSES[word]?.[0] ?? words(word);
}

/** How a status is felt: "good", "bad", "warn", "busy" or "calm". */
export function tone(/** @type {string} */ word) {
  return STATUSES[word]?.[1] ?? "calm";
}

/** Return a word of the API as words: "billing_admin" is "Billing admin". */
export function words(/** @type {string} */ word) {
  const text = String(word).replaceAll(/[_.]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @type {Record<string, [string, "good" | "bad" | "warn" | "busy" | "calm"]>} */
const STATUSES = {
  pending: ["Pending", "busy"],
  processing: ["Processing", "busy"],
  requires_action: ["Needs the customer", "warn"],
  succeeded: ["Succeeded", "good"],
  failed: ["Failed", "bad"],
  bounced: ["Bounced", "bad"],
  dropped: ["Dropped", "bad"],
  complained: ["Complained of", "bad"],
  canceled: ["Canceled", "calm"],
  partially_refunded: ["Partly refunded", "calm"],
  refunded: ["Refunded", "calm"],
  needs_review: ["Needs review", "warn"],
  draft: ["Draft", "calm"],
  open: ["Open", "busy"],
  sent: ["Sent", "busy"],
  due: ["Due", "busy"],
  overdue: ["Overdue", "bad"],
  paid: ["Paid", "good"],
  partially_paid: ["Partly paid", "busy"],
  void: ["Void", "calm"],
  voided: ["Void", "calm"],
  uncollectible: ["Uncollectible", "bad"],
  won: ["Won", "good"],
  lost: ["Lost", "bad"],
  under_review: ["Under review", "busy"],
  needs_response: ["Needs a response", "warn"],
  dead: ["Dead", "bad"],
  owed: ["Owed", "busy"],
  active: ["Active", "good"],
  trialing: ["In its trial", "busy"],
  past_due: ["Past due", "bad"],
  unpaid: ["Unpaid", "bad"],
  expired: ["Expired", "calm"],
  received: ["Received", "busy"],
  processed: ["Processed", "good"],
  ignored: ["Ignored", "calm"],
  ok: ["Well", "good"],
  degraded: ["Degraded", "warn"],
  down: ["Down", "bad"],
  critical: ["Critical", "bad"],
  warning: ["Warning", "warn"],
  declined: ["Declined", "bad"],
  rejected: ["Rejected", "bad"],
  unknown: ["Not known", "warn"],
  scheduled: ["Scheduled", "busy"],
  asked: ["Asked", "warn"],
  stopped: ["Stopped", "bad"],
  exhausted: ["Exhausted", "bad"],
  in_review: ["In review", "warn"],
  cleared: ["Cleared", "good"],
  enabled: ["Enabled", "good"],
  disabled: ["Disabled", "warn"],
  delivering: ["Being sent", "busy"],
  delivered: ["Delivered", "good"],
  completed: ["Completed", "good"],
  refused: ["Refused", "bad"],
  warning_needs_response: ["Inquiry, needs a response", "warn"],
  warning_under_review: ["Inquiry, under review", "busy"],
  warning_closed: ["Inquiry closed", "calm"],
  prevented: ["Prevented", "good"],
  info: ["Notice", "calm"],
};
