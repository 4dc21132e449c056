/**
 * Who holds the socket for all tabs, be it the shared worker or the tab that leads. It tells them
 *
 *     {type: "state", status, position}       on joining, and when another begins to lead
 *     {type: "status", status}                whenever it changes
 *     {type: "events", events}                contiguous, gathered over a moment
 *     {type: "refetch", reason, position, spreadMs}
 *                                             what was before `position` is not told; "begin": that
 *                                             is where it began to listen
 *     {type: "beat"}                          it is there
 *
 * and hears {type: "missed", since}, "nudge", "restart", "online" and "offline" from them.
 */

import { Connection } from "./connection.js";
import { placeOf } from "./place.js";

/** @typedef {import("../events.js").Happening} Happening */

const GATHER_MS = 40;
const BEAT_MS = 20_000;
// What a tab that missed something may still be told.
const KEPT = 500;

const CLOCK = {
  now: () => Date.now(),
  setTimer: (/** @type {() => void} */ run, /** @type {number} */ ms) => setTimeout(run, ms),
  clearTimer: (/** @type {any} */ timer) => clearTimeout(timer),
};

export class Hub {
  /**
   * @param {object} parts
   * @param {() => Promise<{ticket: string, url: string}>} parts.getTicket
   * @param {(message: any) => void} parts.post to every tab
   * @param {string | null} [parts.since]
   * @param {boolean} [parts.isOnline]
   */
  constructor({ getTicket, post, since = null, isOnline = true }) {
    this.post = post;
    /** @type {Happening[]} */
    this.kept = [];
    /** @type {Happening[]} */
    this.unsent = [];
    /** @type {any} */
    this.gathering = null;
    this.connection = new Connection({
      openSocket: (url, protocols) => new WebSocket(url, protocols),
      getTicket,
      clock: CLOCK,
      random: Math.random,
      since,
      isOnline,
      onEvents: (events) => this.gather(events),
      onRefetch: (reason, spreadMs) => {
        this.flush();
        this.kept = [];
        this.post({ type: "refetch", reason, position: this.connection.position, spreadMs });
      },
      onStatus: (status) => {
        this.flush();
        this.post({ type: "status", status });
      },
    });
    this.beat = setInterval(() => this.post({ type: "beat" }), BEAT_MS);
  }

  start() {
    this.connection.start();
  }

  stop() {
    clearInterval(this.beat);
    this.flush();
    this.connection.stop();
  }

  /** What a tab that joins must know. */
  get state() {
    this.flush();
    return { type: "state", status: this.connection.status, position: this.connection.position };
  }

  /** Take what a tab said; `answer` reaches that tab. */
  hear(/** @type {any} */ message, /** @type {(message: any) => void} */ answer) {
    switch (message.type) {
      case "missed":
        answer(this.missed(message.since));
        break;
      case "nudge":
        this.connection.nudge();
        break;
      case "restart":
        this.connection.restart();
        break;
      case "online":
        this.connection.goOnline();
        break;
      case "offline":
        this.connection.goOffline();
        break;
      default:
    }
  }

  /** Tell what came after `since`, or that it must be fetched. */
  missed(/** @type {string | null} */ since) {
    this.flush();
    const place = placeOf(since);
    const first = placeOf(this.kept[0]?.id);
    const isKept = place && first && place.epoch === first.epoch && place.seq + 1 >= first.seq;
    if (!isKept) {
      return { type: "refetch", reason: "lost", position: this.connection.position };
    }
    return { type: "events", events: this.kept.slice(place.seq + 1 - first.seq) };
  }

  gather(/** @type {Happening[]} */ events) {
    this.unsent.push(...events);
    this.gathering ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  flush() {
    clearTimeout(this.gathering);
    this.gathering = null;
    if (this.unsent.length > 0) {
      const events = this.unsent;
      this.unsent = [];
      this.kept = [...this.kept, ...events].slice(-KEPT);
      this.post({ type: "events", events });
    }
  }
}

/** Buy a ticket; the cookie says who asks. */
export async function buyTicket(/** @type {string | null} */ companyId) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  if (companyId) {
    headers["X-Company-Id"] = companyId;
  }
  const answer = await fetch("/api/v1/relay/tickets", { method: "POST", headers, body: "{}" });
  if (!answer.ok) {
    const retryAfterS = Number(answer.headers.get("Retry-After")) || 0;
    throw Object.assign(new Error("no ticket"), { status: answer.status, retryAfterS });
  }
  return answer.json();
}
