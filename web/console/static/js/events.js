/**
 * What the relay tells: kept as a feed, told as notices, and what it touches is asked anew.
 *
 * Events come one by one or a hundred a second. They are gathered, so that a second sees at most a
 * few renders and each query is asked at most once in it.
 */

import { invalidate } from "./query.js";
import { store } from "./store.js";

/**
 * @typedef {object} Happening
 * @property {string} id
 * @property {string} type such as "payment.succeeded"
 * @property {string | null} company_id
 * @property {string | null} [user_id]
 * @property {string} timestamp
 * @property {Record<string, any>} data
 */

const FEED = 200;
// The feed is drawn at most this often.
const SHOW_MS = 250;
// Queries are asked at most this often; where events do not end ever more seldom, down to the
// longest: a person has one rate limit for all of their tabs.
const ASK_MS = 1000;
const LONGEST_ASK_MS = 4000;

const ABOUT_PAYMENTS = [["payments"], ["overview"], ["invoices"], ["health"], ["webhook-events"]];

/**
 * Which queries an event touches: by its whole type, else by what stands before its dot. A query's
 * key begins with the noun of what it asks.
 *
 * @type {Record<string, string[][]>}
 */
const TOUCHES = {
  "payment.": [...ABOUT_PAYMENTS, ["payment-methods"], ["reviews"], ["dead-letters"]],
  "invoice.": [["invoices"], ["subscriptions"], ["overview"], ["payments"], ["disputes"]],
  "module.": [["subscriptions"], ["overview"], ["modules"]],
  "import.": [["imports"], ["overview"]],
  "user.": [["presence"]],
  "system.": [["alerts"], ["dead-letters"], ["reviews"], ["health"], ["overview"], ["disputes"], ["endpoints"]],
};

/** Return the keys that an event of this type touches. */
function touchedBy(/** @type {string} */ type) {
  return TOUCHES[type] ?? TOUCHES[`${type.split(".")[0]}.`] ?? [];
}

/** @typedef {(events: Happening[]) => void} Hear */

/**
 * Return a door for events that gathers them.
 *
 * @param {object} [parts] tests give their own
 * @param {(prefix: string[]) => void} [parts.ask]
 * @param {(events: Happening[]) => void} [parts.show]
 * @param {(run: () => void, ms: number) => void} [parts.setTimer]
 */
export function createGathering({
  ask = invalidate,
  show = addToFeed,
  setTimer = (run, ms) => void setTimeout(run, ms),
} = {}) {
  /** @type {Happening[]} */
  let unseen = [];
  /** @type {Map<string, string[]>} */
  let touched = new Map();
  let isShowing = false;
  let isAsking = false;
  let pauseMs = ASK_MS;

  function showSoon() {
    if (!isShowing) {
      isShowing = true;
      setTimer(() => {
        isShowing = false;
        const events = unseen;
        unseen = [];
        show(events);
      }, SHOW_MS);
    }
  }

  function askAll() {
    const keys = [...touched.values()];
    touched = new Map();
    keys.forEach((key) => ask(key));
  }

  /** The first is asked at once, for one event is what a person waits for. */
  function askSoon() {
    if (isAsking) {
      return;
    }
    if (touched.size === 0) {
      pauseMs = ASK_MS;
      return;
    }
    isAsking = true;
    askAll();
    setTimer(() => {
      isAsking = false;
      askSoon();
    }, pauseMs);
    pauseMs = Math.min(LONGEST_ASK_MS, pauseMs * 2);
  }

  return {
    /** Take what the relay told. */
    hear(/** @type {Happening[]} */ events) {
      for (const event of events) {
        unseen.push(event);
        for (const key of touchedBy(event.type)) {
          touched.set(key.join("/"), key);
        }
      }
      unseen = unseen.slice(-FEED);
      showSoon();
      askSoon();
    },

    /** Drop what is not told yet: another company is followed from now on, or by somebody else. */
    forget() {
      unseen = [];
      touched = new Map();
    },
  };
}

/** The newest first, each once. */
function addToFeed(/** @type {Happening[]} */ events) {
  store.set(({ feed }) => {
    const known = new Set(feed.map((event) => event.id));
    const fresh = events.filter((event) => !known.has(event.id)).reverse();
    return fresh.length > 0 ? { feed: [...fresh, ...feed].slice(0, FEED) } : {};
  });
}
