/** How providers, queues, the database, the caches and our own connection are doing. */

import { NetworkError, api } from "../api.js";
import { h, replace } from "../dom.js";
import { count, duration, time } from "../format.js";
import { query, watch } from "../query.js";
import { statusInWords } from "../relay/client.js";
import { can } from "../session.js";
import { store } from "../store.js";
import { badge } from "../ui/badge.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { table } from "../ui/table.js";
import { button, heading, panel, redrawn } from "./parts.js";
import { ratesPanel } from "./rates.js";
import { named } from "./words.js";

// No event tells of what only grows or heals by itself.
const EVERY_MS = 10_000;
/** @type {Record<string, [string, string]>} */
const PARTS = {
  database: ["Database", "Requests are refused until it is back."],
  cache: ["Cache", "Requests are accepted, only slower; live events wait."],
  queues: ["Broker", "Work is kept and begins once it is back."],
};
/** @type {Record<string, [string, string]>} */
const BREAKERS = {
  closed: ["Well", "good"],
  half_open: ["Being tried", "warn"],
  open: ["Away", "bad"],
  unknown: ["Not known", "calm"],
};
/** @type {Record<string, string>} */
const CONNECTED = { live: "good", connecting: "warn", waiting: "warn", offline: "bad", stopped: "bad", off: "calm" };

/** @type {import("../router.js").View} */
export default {
  path: "/health",
  title: "Health",
  nav: { label: "Health", icon: "health" },
  show(context) {
    const parts = h("div", { class: "cards" });
    const providers = h("div", { class: "cards" });
    const relay = h("div");
    const state = h("div");
    const ready = query(["health", "ready"], ({ signal }) => readiness(signal));
    const queues = query(["health", "queues"], ({ signal }) => api.get("/operations/queues", { signal }));
    const rows = queuesTable();
    const rates = ratesPanel();
    const drawParts = redrawn(parts, drawnParts);
    const drawProviders = redrawn(providers, drawnProviders);
    const drawRelay = () => replace(relay, drawnRelay(store.get().relay));
    const stops = [
      watch(ready, (result) => {
        replace(state, result.data && !result.error ? null : shown(result, () => null));
        if (result.data) {
          drawParts(result.data);
          drawProviders(result.data.providers);
        }
      }),
      store.subscribe((all) => all.relay, drawRelay),
      rates.stop,
    ];
    if (can("operations")) {
      stops.push(watch(queues, (result) => rows.show(result)));
    }
    const again = () => {
      void ready.refetch();
      rates.again();
      if (can("operations")) {
        void queues.refetch();
      }
    };
    const timer = setInterval(() => document.visibilityState === "visible" && again(), EVERY_MS);
    context.signal.addEventListener("abort", () => clearInterval(timer));
    drawRelay();
    const { config } = store.get();
    const flower = config?.flower_url ? h("a", { class: "button", href: config.flower_url, target: "_blank", rel: "noopener" }, icon("external"), "Flower: the tasks") : null;
    const node = h(
      "section",
      null,
      heading("Health", [flower, button("refresh", "Look again", again)]),
      state,
      h("div", { class: "stack" }, panel("What it stands on", parts), panel("Providers", providers), panel("This page's connection", relay), rates.node, can("operations") ? rows.node : null),
    );
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

/** Ask whether the server can work; that it cannot is an answer too. */
async function readiness(/** @type {AbortSignal} */ signal) {
  try {
    const answer = await fetch("/readyz", { signal });
    return await answer.json();
  } catch (error) {
    if (signal.aborted) {
      throw error;
    }
    throw new NetworkError();
  }
}

function drawnParts(/** @type {any} */ told) {
  const { dead_letters: dead } = told;
  const letters = h(
    "div",
    { class: "vital" },
    h("h3", null, "Dead letters"),
    badge("dead", { text: count(dead.number), tone: dead.number ? "bad" : "good" }),
    h("p", { class: "quiet" }, dead.number ? `The oldest was given up ${duration(dead.oldest_s)} ago.` : "Nothing was given up."),
  );
  return [
    Object.entries(PARTS).map(([name, [title, advice]]) => {
      const isWell = told[name] === "ok";
      return h("div", { class: "vital" }, h("h3", null, title), badge(told[name], { text: isWell ? "Well" : named(told[name]), tone: isWell ? "good" : "bad" }), h("p", { class: "quiet" }, isWell ? "Answers." : advice));
    }),
    letters,
  ];
}

function drawnProviders(/** @type {Record<string, any>} */ providers) {
  const all = Object.entries(providers);
  if (all.length === 0) {
    return empty("No provider was asked yet", "Each is shown here once a payment has gone to it.");
  }
  return all.map(([name, { state, since, failures, next_probe_at: probe }]) => {
    const [text, tone] = BREAKERS[state] ?? [named(state), "calm"];
    return h(
      "div",
      { class: "vital", dataset: { provider: name } },
      h("h3", null, named(name)),
      badge(state, { text, tone }),
      h("p", { class: "quiet" }, state === "closed" ? "Its calls go through." : ["After ", count(failures), " failures", since ? [", since ", time(since)] : null, ". What needs it waits."]),
      probe ? h("p", { class: "quiet" }, "Tried again ", time(probe)) : null,
    );
  });
}

/** @param {import("../relay/client.js").RelayStatus} relay */
function drawnRelay(relay) {
  const tabs = relay.tabs === 1 ? "one tab" : `${count(relay.tabs)} tabs`;
  return h(
    "div",
    { class: "vital" },
    badge(relay.state, { text: statusInWords(relay), tone: CONNECTED[relay.state] ?? "calm" }),
    h("p", { class: "quiet" }, relay.state === "live" ? `One socket for ${tabs}. What happens is shown at once.` : "What is shown may be a little old; it is asked again by itself."),
  );
}

function queuesTable() {
  return table({
    caption: "Queues",
    isCaptionShown: true,
    columns: [
      { label: "Queue", isHeader: true, cell: (each) => h("code", null, each.queue) },
      { label: "Owed", isNumber: true, cell: (each) => count(each.owed), compare: (a, b) => a.owed - b.owed },
      { label: "Late", isNumber: true, cell: (each) => count(each.due), compare: (a, b) => a.due - b.due },
      { label: "Oldest late", isNumber: true, cell: (each) => (each.oldest_due_s > 0 ? duration(each.oldest_due_s) : "—"), compare: (a, b) => a.oldest_due_s - b.oldest_due_s },
      { label: "In the broker", isNumber: true, cell: (each) => (each.waiting === null ? "not known" : count(each.waiting)) },
      { label: "Dead", isNumber: true, cell: (each) => (each.dead ? badge("dead", { text: count(each.dead) }) : "0"), compare: (a, b) => a.dead - b.dead },
    ],
    rowKey: (each) => each.queue,
    empty: () => empty("No queues", "The workers have none."),
  });
}
