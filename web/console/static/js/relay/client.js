/**
 * The tab's face of the relay: its status in the store, what it tells to who listens.
 *
 * All tabs of a user and a company share one socket: in a shared worker, or where there is none (or
 * with `?relay=leader` in the address) in the tab that leads.
 */

import { invalidate } from "../query.js";
import { companyId, find, session } from "../session.js";
import { store } from "../store.js";
import { joinByLock } from "./leader.js";
import { judge, placeOf, textOf } from "./place.js";

/** @typedef {import("../events.js").Happening} Happening */

/**
 * @typedef {object} RelayStatus
 * @property {"off" | "connecting" | "live" | "waiting" | "offline" | "stopped"} state
 * @property {number | null} until when the next try is made, in milliseconds of the clock
 * @property {string | null} [reason] of a stop
 * @property {"worker" | "leader" | null} [mode]
 * @property {boolean} [isLeading]
 * @property {number} [tabs] how many tabs share the socket, as far as is known
 * @property {number} [behindUntil] until when what is shown may be older than the connection
 */

/**
 * @typedef {object} Listener
 * @property {(events: Happening[]) => void} hear
 * @property {() => void} forget who is followed changes: what was heard is not theirs to see
 */

// Tabs of another release speak otherwise.
const VERSION = 1;
const FORCE = "paybeat.relay";
// Whoever holds the socket says so every 20 s, and a tab in the background every minute.
const SILENCE_MS = 100_000;
const LOOK_MS = 10_000;
const RESTART_MS = 6000;
const JOIN_MS = 15_000;
const TRIES = 3;

/** @type {Listener} */
let listener = { hear() {}, forget() {} };
/** @type {ReturnType<typeof follow> | null} */
let current = null;

/** Have what the relay tells come here. */
export function whenHappening(/** @type {Listener} */ given) {
  listener = given;
}

/** Listen for who is signed in, for as long as they are, for the company that they act for. */
export function startRelay() {
  const who = () => {
    const { status, user } = session();
    return status === "in" && user ? `${user.id} ${companyId() ?? "tenant"}` : null;
  };
  const turn = (/** @type {string | null} */ name) => {
    if (current !== null) {
      current.stop();
      listener.forget();
    }
    current = name === null ? null : follow(name, companyId());
  };
  store.subscribe(who, turn);
  turn(who());
  addEventListener("online", () => current?.post({ type: "online" }));
  addEventListener("offline", () => current?.post({ type: "offline" }));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      current?.post({ type: "nudge" });
    }
  });
}

/** Return the status in words. */
export function statusInWords(/** @type {RelayStatus} */ status, now = Date.now()) {
  switch (status.state) {
    case "live":
      return (status.behindUntil ?? 0) > now ? "Catching up…" : "Live";
    case "connecting":
      return "Connecting…";
    case "waiting": {
      const seconds = Math.ceil(((status.until ?? now) - now) / 1000);
      return seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
    }
    case "offline":
      return "This device is offline";
    case "stopped":
      return status.reason === "signed-out" ? "Signed out" : "Not live: reload the page";
    default:
      return "Not live";
  }
}

/** @param {string} name @param {string | null} company */
function follow(name, company) {
  /** @type {import("./place.js").Place | null} */
  let last = null;
  let hasJoined = false;
  let heardAt = Date.now();
  let mode = isWorkerWanted() ? "worker" : "leader";
  const parts = { name: `${VERSION} ${name}`, companyId: company, position: () => textOf(last), hear };
  let host = mode === "worker" ? joinByWorker({ ...parts, failed: fallBack }) : joinByLock(parts);
  const looking = setInterval(look, LOOK_MS);
  show({ state: "connecting", until: null, mode: /** @type {any} */ (mode), tabs: 1 });

  function fallBack() {
    host.stop();
    mode = "leader";
    host = joinByLock(parts);
    show({ mode: "leader" });
  }

  /** Nothing was heard of who holds the socket, and somebody looks: take it over. */
  function look() {
    const isSilent = Date.now() - heardAt > SILENCE_MS;
    if (isSilent && document.visibilityState === "visible") {
      heardAt = Date.now();
      host.again();
    }
  }

  function hear(/** @type {any} */ message) {
    heardAt = Date.now();
    switch (message.type) {
      case "state":
        joined(message);
        break;
      case "status":
        told(message.status);
        break;
      case "events":
        take(message.events);
        break;
      case "refetch":
        begin(message);
        break;
      case "tabs":
        show({ tabs: message.count });
        break;
      default:
    }
  }

  /** @param {{status: any, position: string | null}} state */
  function joined({ status, position }) {
    told(status);
    const there = placeOf(position);
    if (!hasJoined) {
      hasJoined = true;
      last = there;
      if (there) {
        // What was asked before this tab listened may have changed in between.
        invalidate([], { askedBefore: Date.now() });
      }
    } else if (last && there && (there.epoch !== last.epoch || there.seq > last.seq)) {
      host.post({ type: "missed", since: textOf(last) });
    }
  }

  function told(/** @type {any} */ status) {
    show({ ...status, isLeading: host?.isLeading?.() ?? false });
    if (status.state === "stopped" && status.reason === "signed-out") {
      void findAndGoOn();
    }
  }

  /** The session may be another one by now: of who signed in again. */
  async function findAndGoOn() {
    await find();
    if (session().status === "in") {
      setTimeout(() => host.post({ type: "restart" }), RESTART_MS);
    }
  }

  /** @param {{reason: string, position: string | null, spreadMs?: number}} told */
  function begin({ reason, position, spreadMs }) {
    last = placeOf(position);
    invalidate([], reason === "begin" ? { askedBefore: Date.now() } : { spreadMs });
    if (spreadMs) {
      // What is shown is older than the connection until it has been asked anew.
      show({ behindUntil: Date.now() + spreadMs });
      setTimeout(() => show({}), spreadMs);
    }
  }

  function take(/** @type {Happening[]} */ events) {
    const fresh = [];
    for (const event of events) {
      const place = placeOf(event.id);
      const is = judge(last, place);
      if (is === "hole") {
        host.post({ type: "missed", since: textOf(last) });
        break;
      }
      if (is === "epoch") {
        invalidate([]);
      }
      if (is !== "known") {
        last = place ?? last;
        fresh.push(event);
      }
    }
    if (fresh.length > 0) {
      listener.hear(fresh);
    }
  }

  return {
    post: (/** @type {any} */ message) => host.post(message),
    stop() {
      clearInterval(looking);
      host.stop();
      store.set({ relay: { state: "off", until: null, tabs: 1 } });
    },
  };
}

function show(/** @type {Partial<RelayStatus>} */ patch) {
  store.set(({ relay }) => ({ relay: { ...relay, ...patch } }));
}

function isWorkerWanted() {
  const asked = new URLSearchParams(location.search).get("relay") ?? sessionStorage.getItem(FORCE);
  if (asked) {
    // A view changes the address; the tab keeps to it.
    sessionStorage.setItem(FORCE, asked);
  }
  return asked !== "leader" && "SharedWorker" in globalThis;
}

/**
 * @param {object} parts
 * @param {string} parts.name
 * @param {string | null} parts.companyId
 * @param {() => string | null} parts.position where this tab stands
 * @param {(message: any) => void} parts.hear
 * @param {() => void} parts.failed
 */
function joinByWorker({ name, companyId: company, position, hear, failed }) {
  const lock = `paybeat.tab ${crypto.randomUUID()}`;
  let letGo = () => {};
  /** @type {SharedWorker | null} */
  let worker = null;
  /** @type {any} */
  let waiting = null;
  let tries = 0;
  let outliving = new AbortController();

  // Held before joining: the worker takes a lock that is free for a tab that is gone.
  void navigator.locks.request(lock, () => {
    if (tries >= TRIES) {
      // Left before it began.
      return Promise.resolve();
    }
    again();
    return new Promise((/** @type {(value: void) => void} */ resolve) => void (letGo = resolve));
  });

  /** One that was ending as this tab came never answers; then another begins. */
  function again() {
    tries += 1;
    if (tries > TRIES) {
      failed();
      return;
    }
    worker?.port.close();
    const url = trusted(new URL("./worker.js", import.meta.url).href);
    worker = new SharedWorker(/** @type {any} */ (url), { type: "module", name });
    worker.onerror = () => failed();
    worker.port.onmessage = ({ data }) => {
      clearTimeout(waiting);
      tries = 0;
      if (data.type === "life") {
        outlive(data.lock);
      } else {
        hear(data);
      }
    };
    const join = { type: "join", companyId: company, lock, since: position(), isOnline: navigator.onLine };
    worker.port.postMessage(join);
    waiting = setTimeout(again, JOIN_MS);
  }

  /** Begin another worker once the one that holds this lock is gone. */
  function outlive(/** @type {string} */ life) {
    outliving.abort();
    outliving = new AbortController();
    const options = /** @type {const} */ ({ mode: "shared", signal: outliving.signal });
    navigator.locks.request(life, options, again).catch(() => {
      // Another worker came first, or this tab left.
    });
  }

  return {
    isLeading: () => false,
    post: (/** @type {any} */ message) => worker?.port.postMessage(message),
    again,
    stop() {
      clearTimeout(waiting);
      outliving.abort();
      tries = TRIES;
      worker?.port.postMessage({ type: "leave" });
      worker?.port.close();
      letGo();
    },
  };
}

/** The policy forbids scripts of any other making; this one is ours. */
function trusted(/** @type {string} */ url) {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  policy ??= types?.createPolicy("paybeat", {
    createScriptURL(/** @type {string} */ asked) {
      if (new URL(asked).origin !== location.origin) {
        throw new TypeError("a script of another origin");
      }
      return asked;
    },
  });
  return policy ? policy.createScriptURL(url) : url;
}

/** @type {any} */
let policy = null;
