/**
 * Stale-while-revalidate queries over the store: what is known is shown at once, and asked again
 * when it may have changed. The specification's hook, without its framework.
 *
 *     const payments = query(["payments", "list", filters], ({signal}) =>
 *       api.get("/payments", {query: filters, signal}));
 *     const stop = watch(payments, ({data, error, isLoading}) => ...);
 *     invalidate(["payments"]);            // whatever begins so is stale; who watches sees it anew
 *
 * One fetch at a time a key, however many watch. Nobody watching any more: it is aborted.
 */

import { Asked } from "./asked.js";
import { store } from "./store.js";

/** @typedef {readonly any[]} Key text, numbers, or plain objects such as filters */

/**
 * @template T
 * @typedef {object} Result
 * @property {T | undefined} data what was last known, also while it is asked anew or has failed
 * @property {any} error why the last try failed, once it is given up; gone with the next success
 * @property {boolean} isLoading nothing to show yet
 * @property {boolean} isFetching it is being asked
 * @property {boolean} isStale what is shown may have changed
 * @property {boolean} isPrevious `data` is of the key before (see `follow`)
 * @property {number} updatedAt milliseconds of the clock, 0 for never
 * @property {() => Promise<void>} refetch
 */

/**
 * @template T
 * @typedef {object} Query
 * @property {string} id
 * @property {Key} key
 * @property {() => Result<T>} get
 * @property {(hear: () => void) => () => void} subscribe
 * @property {() => Promise<void>} refetch
 */

/** @typedef {import("./asked.js").Entry} Entry */
/** @typedef {import("./asked.js").Fetcher} Fetcher */

// Known and unwatched keys that are kept for who comes back.
const KEPT = 100;
const UNKNOWN = Object.freeze({
  key: [],
  data: undefined,
  error: null,
  updatedAt: 0,
  isFetching: false,
  isInvalid: false,
});

const REAL = {
  now: () => Date.now(),
  setTimer: (/** @type {() => void} */ run, /** @type {number} */ ms) => setTimeout(run, ms),
  clearTimer: (/** @type {any} */ timer) => clearTimeout(timer),
  random: () => Math.random(),
  isOnline: () => navigator.onLine,
  isVisible: () => document.visibilityState === "visible",
};

/**
 * Return queries over a store; the page has one (below), tests make their own.
 *
 * @param {import("./store.js").Store<any>} over a store with a `queryCache`
 * @param {Partial<typeof REAL>} [given]
 */
export function createQueries(over, given = {}) {
  const env = { ...REAL, ...given };
  /** @type {Map<string, Asked>} */
  const asked = new Map();

  const core = {
    env,
    /** @param {string} id @returns {Entry} */
    entryOf: (id) => over.get().queryCache[id] ?? UNKNOWN,
    /** @param {Asked} one @param {Partial<Entry>} patch */
    patch(one, patch) {
      if (asked.get(one.id) !== one) {
        return;
      }
      const entry = { ...core.entryOf(one.id), key: one.key, ...patch };
      over.set((state) => ({ queryCache: { ...state.queryCache, [one.id]: entry } }));
    },
  };

  /** @param {string} id @param {Key} key @param {Fetcher} fetcher @param {any} options */
  function oneOf(id, key, fetcher, options) {
    let one = asked.get(id);
    if (one === undefined) {
      one = new Asked(core, id, key, fetcher, options);
      asked.set(id, one);
      forgetOldest();
    } else {
      one.fetcher = fetcher;
    }
    return one;
  }

  function forgetOldest() {
    const idle = [...asked.values()].filter((one) => one.watchers.size === 0).slice(0, -KEPT);
    if (idle.length > 0) {
      const cache = { ...over.get().queryCache };
      for (const one of idle) {
        asked.delete(one.id);
        delete cache[one.id];
      }
      over.set({ queryCache: cache });
    }
  }

  /**
   * Name something that can be asked. Nothing is asked until somebody watches.
   *
   * @param {Key} key
   * @param {Fetcher} fetcher
   * @param {{staleMs?: number}} [options]
   * @returns {Query<any>}
   */
  function query(key, fetcher, options = {}) {
    const id = JSON.stringify(key);
    const one = () => oneOf(id, key, fetcher, options);
    const refetch = () => one().fetch();
    return {
      id,
      key,
      refetch,
      get() {
        const entry = core.entryOf(id);
        return {
          data: entry.data,
          error: entry.error,
          isLoading: entry.data === undefined && !entry.error,
          isFetching: entry.isFetching,
          isStale: asked.get(id)?.isStale ?? true,
          isPrevious: false,
          updatedAt: entry.updatedAt,
          refetch,
        };
      },
      subscribe(hear) {
        const mine = one();
        const watcher = {};
        mine.watchers.add(watcher);
        const stop = over.subscribe((state) => state.queryCache[id], hear);
        if (mine.isStale || mine.entry.error) {
          mine.failures = 0;
          void mine.fetch();
        }
        return () => {
          stop();
          mine.watchers.delete(watcher);
          if (mine.watchers.size === 0) {
            mine.abort();
            core.patch(mine, { isFetching: false });
          }
        };
      },
    };
  }

  /**
   * Call `render` with the result now and whenever it changes.
   *
   * @template T
   * @param {Query<T>} of
   * @param {(result: Result<T>) => void} render
   * @returns {() => void} stops it
   */
  function watch(of, render) {
    const follower = follow(render);
    follower.show(of);
    return follower.stop;
  }

  /**
   * Watch one query after another, such as a list whose filter changes: the fetch of the one before
   * is aborted, and what it had is shown, marked `isPrevious`, until the next one has something.
   *
   * @template T
   * @param {(result: Result<T>) => void} render
   * @returns {{show(of: Query<T>): void, stop(): void}}
   */
  function follow(render) {
    /** @type {Query<T> | null} */
    let current = null;
    let stop = () => {};
    /** @type {T | undefined} */
    let previous;
    const tell = () => {
      const result = /** @type {Query<T>} */ (current).get();
      if (result.data !== undefined) {
        previous = result.data;
      }
      const isPrevious = result.data === undefined && previous !== undefined && !result.error;
      render(isPrevious ? { ...result, data: previous, isPrevious, isLoading: false } : result);
    };
    return {
      show(of) {
        if (current?.id === of.id) {
          return;
        }
        const stopBefore = stop;
        current = of;
        stop = of.subscribe(tell);
        stopBefore();
        tell();
      },
      stop: () => stop(),
    };
  }

  /**
   * Mark what begins with `prefix` as stale; what is watched is asked again.
   *
   * @param {Key} prefix [] for everything
   * @param {object} [options]
   * @param {number} [options.askedBefore] only what was last asked before that time
   * @param {number} [options.spreadMs] ask at some moment of that time: all pages do the same now
   */
  function invalidate(prefix, { askedBefore = Infinity, spreadMs = 0 } = {}) {
    const begin = prefix.map((part) => JSON.stringify(part));
    const spoilt = [...asked.values()].filter(
      ({ key, askedAt }) =>
        askedAt < askedBefore && begin.every((part, n) => part === JSON.stringify(key[n])),
    );
    // At once, whenever it is asked: who comes to look meanwhile does not take it for fresh.
    for (const one of spoilt) {
      one.spoil();
    }
    const renew = () => spoilt.filter((one) => asked.get(one.id) === one).forEach((one) => one.renew());
    if (spreadMs > 0) {
      env.setTimer(renew, env.random() * spreadMs);
    } else {
      renew();
    }
  }

  /** Ask again what may have changed while nobody looked or nothing could be reached. */
  function wake() {
    for (const one of [...asked.values()]) {
      one.wake();
    }
  }

  /** Forget everything: somebody else signs in, or another company is acted for. */
  function clear() {
    for (const one of asked.values()) {
      one.abort();
    }
    asked.clear();
    over.set({ queryCache: {} });
  }

  return { query, watch, follow, invalidate, wake, clear, core };
}

export const { query, watch, follow, invalidate, wake, clear } = createQueries(store);

/** Ask again by itself when the page is looked at again or the network is back. */
export function wakeWithPage() {
  addEventListener("online", wake);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      wake();
    }
  });
}
