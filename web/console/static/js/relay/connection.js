/**
 * One socket to the relay, for as long as it is wanted: the whole of its protocol and nothing of the
 * page. Clock, chance, socket and tickets are given, so that tests can play them.
 *
 *     off → connecting → live ⇄ waiting (until a time) | offline → ... | stopped (for good)
 *
 * Events come out contiguous: whatever is not the next one is asked for again, and what cannot be
 * told any more comes out as a refetch; so does the very beginning, as "begin", for what was fetched
 * before it may be older.
 */

import { judge, placeOf, textOf } from "./place.js";

/** @typedef {import("../events.js").Happening} Happening */

/**
 * @typedef {object} Status
 * @property {"off" | "connecting" | "live" | "waiting" | "offline" | "stopped"} state
 * @property {number | null} until when the next try is made
 * @property {string | null} reason of a stop: "signed-out", "not-allowed" or "misunderstood"
 */

/**
 * @typedef {object} Parts
 * @property {(url: string, protocols: string[]) => WebSocket} openSocket
 * @property {() => Promise<{ticket: string, url: string}>} getTicket throws errors with a status
 * @property {{now(): number, setTimer(run: () => void, ms: number): any, clearTimer(timer: any): void}} clock
 * @property {() => number} random
 * @property {(events: Happening[]) => void} onEvents
 * @property {(reason: string, spreadMs: number) => void} onRefetch over how long all fetch anew
 * @property {(status: Status) => void} onStatus
 * @property {string | null} [since] the id of the last event that is known already
 * @property {boolean} [isOnline]
 */

const PROTOCOL = "paybeat.v1";
// From the first try to the hello.
const PATIENCE_MS = 15_000;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const LEAST_WAIT_MS = 100;
// Who was live for as long begins anew with short waits.
const STEADY_MS = 5000;
const SILENCE_MS = 40_000;
const PONG_MS = 10_000;
// Between two demands for what was missed; the relay limits messages.
const RESUME_MS = 1000;
const RESUME_LOST_MS = 5000;
// Who comes back after as long of silence asks whether the socket still lives.
const DOUBT_MS = 10_000;

const SIGNED_OUT = 4001;
const STOPS = /** @type {Record<number, string>} */ ({ [SIGNED_OUT]: "signed-out", 4003: "not-allowed" });
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

/** One connection; `start` it, and `stop` it for good. */
export class Connection {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    this.last = placeOf(parts.since);
    this.isOnline = parts.isOnline ?? true;
    /** @type {Status} */
    this.status = { state: "off", until: null, reason: null };
    /** @type {WebSocket | null} */
    this.socket = null;
    // Each try has a number; what comes from an older one is not heard.
    this.round = 0;
    this.attempts = 0;
    this.liveSince = 0;
    this.heardAt = 0;
    this.resumedAt = -Infinity;
    this.isResuming = false;
    /** @type {Record<string, any>} */
    this.timers = {};
  }

  /** The id of the last event that came, to go on from. */
  get position() {
    return textOf(this.last);
  }

  start() {
    if (this.status.state === "off") {
      this.goOn();
    }
  }

  stop(reason = /** @type {string | null} */ (null)) {
    this.drop(1000);
    this.tell(reason === null ? "off" : "stopped", null, reason);
  }

  /** Go on after a stop, for what stopped it may be over. */
  restart() {
    if (this.status.state === "stopped") {
      this.goOn();
    }
  }

  goOffline() {
    this.isOnline = false;
    if (this.isWanted) {
      this.drop(1000);
      this.tell("offline");
    }
  }

  goOnline() {
    this.isOnline = true;
    this.attempts = 0;
    if (this.status.state === "offline" || this.status.state === "waiting") {
      this.connect();
    }
  }

  /** Somebody looks at the page: do not wait, and do not trust a silent socket. */
  nudge() {
    if (this.status.state === "waiting") {
      this.attempts = Math.min(this.attempts, 1);
      this.connect();
    } else if (this.status.state === "live" && this.silentMs > DOUBT_MS) {
      this.ping();
    }
  }

  get isWanted() {
    return this.status.state !== "off" && this.status.state !== "stopped";
  }

  get silentMs() {
    return this.parts.clock.now() - this.heardAt;
  }

  goOn() {
    if (this.isOnline) {
      this.connect();
    } else {
      this.tell("offline");
    }
  }

  connect() {
    this.drop(1000);
    const round = this.round;
    this.tell("connecting");
    this.setTimer("patience", () => this.lose(), PATIENCE_MS);
    this.parts.getTicket().then(
      ({ ticket, url }) => round === this.round && this.open(url, ticket),
      (error) => round === this.round && this.refused(error),
    );
  }

  /** @param {string} url @param {string} ticket */
  open(url, ticket) {
    const since = this.position;
    const query = since === null ? "" : `${url.includes("?") ? "&" : "?"}since=${encodeURIComponent(since)}`;
    const round = this.round;
    const socket = this.parts.openSocket(url + query, [PROTOCOL, `ticket.${ticket}`]);
    this.socket = socket;
    socket.onmessage = ({ data }) => round === this.round && this.hear(data);
    socket.onclose = ({ code, reason }) => round === this.round && this.closed(code, reason);
  }

  refused(/** @type {any} */ error) {
    if (error?.status === UNAUTHORIZED) {
      this.stop("signed-out");
    } else if (error?.status === FORBIDDEN) {
      this.stop("not-allowed");
    } else {
      this.wait(this.backOffMs() + (error?.retryAfterS ?? 0) * 1000);
    }
  }

  /** @param {number} code @param {string} reason */
  closed(code, reason) {
    this.drop(null);
    if (code >= 4000 && code < 4100) {
      this.stop(STOPS[code] ?? "misunderstood");
    } else if (code >= 4200 && code < 4300) {
      const told = /retry_ms=(\d+)/.exec(reason);
      this.attempts = 0;
      this.wait(told ? Number(told[1]) : this.backOffMs());
    } else {
      this.wait(this.backOffMs());
    }
  }

  /** The socket is as good as dead. */
  lose() {
    this.drop(1000);
    this.wait(this.backOffMs());
  }

  /** Full jitter: whoever was thrown out together comes back apart. */
  backOffMs() {
    if (this.liveSince > 0 && this.parts.clock.now() - this.liveSince >= STEADY_MS) {
      this.attempts = 0;
    }
    this.liveSince = 0;
    const most = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.attempts);
    this.attempts += 1;
    return Math.max(LEAST_WAIT_MS, this.parts.random() * most);
  }

  wait(/** @type {number} */ ms) {
    this.drop(1000);
    if (this.isOnline) {
      this.tell("waiting", this.parts.clock.now() + ms);
      this.setTimer("retry", () => this.connect(), ms);
    } else {
      this.tell("offline");
    }
  }

  hear(/** @type {string} */ text) {
    this.heardAt = this.parts.clock.now();
    this.clearTimer("pong");
    this.setTimer("silence", () => this.ping(), SILENCE_MS);
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.lose();
      return;
    }
    const heard = this.answers[message.type];
    if (heard) {
      heard(message.data ?? {});
    } else if (!message.type?.startsWith("relay.")) {
      this.take(message);
    }
  }

  /** @type {Record<string, (data: any) => void>} */
  answers = {
    "relay.hello": (data) => this.greeted(data),
    "relay.refetch": (data) => this.begin(data.position, data.reason, data.spread_ms),
    "relay.gap": () => this.resume(),
    "relay.pong": () => {},
  };

  /** What we asked to go on from is gone on from, or a refetch follows. */
  greeted(/** @type {{position: string | null}} */ { position }) {
    this.clearTimer("patience");
    this.liveSince = this.parts.clock.now();
    if (this.last === null) {
      this.begin(position, "begin");
    }
    this.tell("live");
  }

  /** Go on from `position`; what was before it is not told. */
  begin(/** @type {string | null} */ position, reason = "lost", spreadMs = 0) {
    this.last = placeOf(position);
    this.isResuming = false;
    this.clearTimer("resume");
    this.parts.onRefetch(reason, spreadMs);
  }

  take(/** @type {Happening} */ event) {
    const next = placeOf(event.id);
    const is = judge(this.last, next);
    if (is === "hole") {
      const isLost = this.parts.clock.now() - this.resumedAt > RESUME_LOST_MS;
      if (!this.isResuming || isLost) {
        this.resume();
      }
      return;
    }
    if (is === "known") {
      return;
    }
    if (is === "epoch" && next) {
      this.begin(textOf({ ...next, seq: next.seq - 1 }), "epoch");
    }
    this.last = next ?? this.last;
    this.isResuming = false;
    this.parts.onEvents([event]);
  }

  /** Ask for what comes after the last event; not more often than the relay bears. */
  resume() {
    this.isResuming = true;
    const since = this.parts.clock.now() - this.resumedAt;
    if (!this.timers.resume) {
      this.setTimer("resume", () => this.askAgain(), Math.max(0, RESUME_MS - since));
    }
  }

  askAgain() {
    this.resumedAt = this.parts.clock.now();
    const since = this.position;
    if (since === null) {
      this.parts.onRefetch("lost", 0);
    } else {
      this.send({ type: "resume", since });
    }
  }

  ping() {
    this.setTimer("pong", () => this.lose(), PONG_MS);
    this.send({ type: "ping" });
  }

  send(/** @type {object} */ message) {
    if (this.socket?.readyState === 1) {
      this.socket.send(JSON.stringify(message));
    }
  }

  /** Leave the socket behind; null where it has closed by itself. */
  drop(/** @type {number | null} */ code) {
    this.round += 1;
    for (const name of Object.keys(this.timers)) {
      this.clearTimer(name);
    }
    const socket = this.socket;
    this.socket = null;
    this.isResuming = false;
    if (socket && code !== null) {
      socket.close(code);
    }
  }

  /**
   * @param {Status["state"]} state
   * @param {number | null} [until]
   * @param {string | null} [reason]
   */
  tell(state, until = null, reason = null) {
    this.status = { state, until, reason };
    this.parts.onStatus(this.status);
  }

  /** @param {string} name @param {() => void} run @param {number} ms */
  setTimer(name, run, ms) {
    this.clearTimer(name);
    this.timers[name] = this.parts.clock.setTimer(() => {
      delete this.timers[name];
      run();
    }, ms);
  }

  clearTimer(/** @type {string} */ name) {
    this.parts.clock.clearTimer(this.timers[name]);
    delete this.timers[name];
  }
}
