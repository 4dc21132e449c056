/**
 * A small store: one immutable state, patches, subscriptions to parts of it.
 *
 *     store.set({theme: "dark"});
 *     store.set((state) => ({count: state.count + 1}));
 *     const stop = store.subscribe((state) => state.count, (count) => show(count));
 */

/**
 * @template {object} S
 * @typedef {object} Store
 * @property {() => S} get
 * @property {(patch: Partial<S> | ((state: S) => Partial<S>)) => void} set
 * @property {<T>(select: (state: S) => T, hear: (now: T, before: T) => void) => () => void} subscribe
 *   `hear` is called when what `select` returns is another object or value; not at first.
 */

/**
 * @template {object} S
 * @param {S} initial
 * @returns {Store<S>}
 */
export function createStore(initial) {
  let state = initial;
  /** @type {Set<() => void>} */
  const listeners = new Set();

  return {
    get: () => state,

    set(patch) {
      const changed = typeof patch === "function" ? patch(state) : patch;
      const isSame = Object.entries(changed).every(([key, value]) =>
        Object.is(/** @type {any} */ (state)[key], value),
      );
      if (isSame) {
        return;
      }
      state = { ...state, ...changed };
      for (const listener of [...listeners]) {
        // One that an earlier listener took away hears nothing more.
        if (listeners.has(listener)) {
          tell(listener);
        }
      }
    },

    subscribe(select, hear) {
      let known = select(state);
      const listener = () => {
        const now = select(state);
        if (!Object.is(now, known)) {
          const before = known;
          known = now;
          hear(now, before);
        }
      };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** A listener that fails keeps nothing from the others; the failure is reported as one. */
function tell(/** @type {() => void} */ listener) {
  try {
    listener();
  } catch (error) {
    reportError(error);
  }
}

/**
 * The page's own state.
 *
 * @type {Store<{
 *   session: import("./session.js").SessionState,
 *   relay: import("./relay/client.js").RelayStatus,
 *   feed: import("./events.js").Happening[],
 *   config: import("./api.js").Config | null,
 *   queryCache: Record<string, any>,
 * }>}
 */
export const store = createStore({
  session: { status: "unknown", user: null, company: null },
  relay: { state: "off", until: null, tabs: 1 },
  feed: [],
  config: null,
  queryCache: {},
});
