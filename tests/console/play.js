// What tests play to the console's modules: a clock, a relay, a server. Put into a page before it.
"use strict";

globalThis.play = {
  /** A clock that goes on by command alone. */
  clock() {
    let at = 1_000_000;
    let timers = [];
    return {
      now: () => at,
      setTimer(run, ms) {
        const timer = { run, due: at + ms };
        timers.push(timer);
        return timer;
      },
      clearTimer: (timer) => void (timers = timers.filter((each) => each !== timer)),
      /** Let time pass, and whatever is due in it happen in its order. */
      async pass(ms) {
        const end = at + ms;
        for (;;) {
          await play.settle();
          const next = timers.filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0];
          if (!next) {
            break;
          }
          at = Math.max(at, next.due);
          timers = timers.filter((each) => each !== next);
          next.run();
        }
        at = end;
        await play.settle();
      },
    };
  },

  /** Let promises that are settled be heard. */
  async settle() {
    for (let n = 0; n < 10; n += 1) {
      await Promise.resolve();
    }
  },

  /** A connection with its relay in hand; `random` is 1, so that a wait is as long as it may be. */
  async relay(given = {}) {
    const { Connection } = await import("/console/static/js/relay/connection.js");
    const clock = play.clock();
    const told = { events: [], refetches: [], spreads: [], states: [], sent: [], urls: [], closed: [] };
    const relay = { clock, told, tickets: 0, failing: null, socket: null };
    relay.connection = new Connection({
      openSocket(url, protocols) {
        told.urls.push(url);
        const socket = {
          readyState: 1,
          protocols,
          send: (text) => told.sent.push(JSON.parse(text)),
          close: (code) => told.closed.push(code),
        };
        relay.socket = socket;
        return socket;
      },
      async getTicket() {
        relay.tickets += 1;
        if (relay.failing) {
          throw relay.failing;
        }
        return { ticket: `t${relay.tickets}`, url: "ws://relay/ws" };
      },
      clock,
      random: () => 1,
      onEvents: (events) => told.events.push(...events.map((event) => event.id)),
      onRefetch(reason, spreadMs) {
        told.refetches.push(reason);
        told.spreads.push(spreadMs);
      },
      onStatus: ({ state, until }) => told.states.push(until ? `${state} ${until - clock.now()}` : state),
      ...given,
    });
    relay.say = (type, data) => relay.socket.onmessage({ data: JSON.stringify({ type, data }) });
    relay.event = (...seqs) => {
      for (const seq of seqs) {
        const id = typeof seq === "number" ? `e1-${seq}` : seq;
        relay.socket.onmessage({ data: JSON.stringify({ id, type: "payment.started", data: {} }) });
      }
    };
    relay.close = async (code, reason = "") => {
      relay.socket.onclose({ code, reason });
      await play.settle();
    };
    /** Come to life at a place. */
    relay.live = async (position = "e1-10", resumed = false) => {
      relay.connection.start();
      await play.settle();
      relay.say("relay.hello", { position, resumed, heartbeat_s: 25 });
    };
    return relay;
  },

  /** Queries over a store of their own; `answer` and `fail` settle the oldest fetch of a key. */
  async queries(given = {}) {
    const { createStore } = await import("/console/static/js/store.js");
    const { createQueries } = await import("/console/static/js/query.js");
    const clock = play.clock();
    const world = { isOnline: true, isVisible: true };
    const over = createStore({ queryCache: {} });
    const queries = createQueries(over, {
      ...clock,
      random: () => 1,
      isOnline: () => world.isOnline,
      isVisible: () => world.isVisible,
      ...given,
    });
    const fetches = [];
    const fetcher = (name) => ({ signal }) =>
      new Promise((resolve, reject) => {
        const one = { name, resolve, reject, signal, isOpen: true };
        fetches.push(one);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    const settle = async (name, how, value) => {
      const one = fetches.find((each) => each.name === name && each.isOpen && !each.signal.aborted);
      one.isOpen = false;
      one[how](value);
      await play.settle();
    };
    return {
      ...queries,
      clock,
      world,
      fetches,
      ask: (name, options) => queries.query([name], fetcher(name), options),
      answer: (name, data) => settle(name, "resolve", data),
      fail: (name, error) => settle(name, "reject", error),
      asked: (name) => fetches.filter((each) => each.name === name).length,
      /** Watch, and note what was rendered. */
      seen(of) {
        const renders = [];
        const stop = queries.watch(of, ({ data, error, isLoading, isStale }) =>
          renders.push([data ?? null, error?.message ?? null, isLoading, isStale]),
        );
        return { renders, stop };
      },
    };
  },
};
