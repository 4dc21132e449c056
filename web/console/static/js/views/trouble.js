/** What goes wrong on command: faults of a stand-in, and what becomes of its webhooks. */

import { h, replace } from "../dom.js";
import { count, words } from "../format.js";
import { invalidate } from "../query.js";
import { field, formOf, input, select } from "../ui/forms.js";
import { empty } from "../ui/states.js";
import { toast, toastError } from "../ui/toasts.js";
import { button, panel, redrawn } from "./parts.js";
import { NAMES, ask, standIns } from "./standins.js";
import { declined } from "./words.js";

/** @typedef {import("./standins.js").Provider} Provider */

const SLOW_MS = 2000;
// What is declined by default: funds may come, so that the ladder tries again.
const DECLINES = /** @type {const} */ ({
  stripe: { decline_code: "insufficient_funds", advice_code: "try_again_later" },
  paypal: { decline_code: "INSTRUMENT_DECLINED" },
});
const PAYMENTS = { stripe: "/v1/payment_intents*", paypal: "/v2/checkout/orders*" };

/** @type {[string, string][]} */
const KINDS = [
  ["decline", "A good method is declined"],
  ["timeout_before", "Silence, and nothing was done"],
  ["timeout_after", "Silence, and it was done"],
  ["drop_before", "The connection is cut before it was done"],
  ["drop_after", "The connection is cut after it was done"],
  ["rate_limit", "429, too many requests"],
  ["server_error", "500"],
  ["slow", "Slow"],
];

/** The panel of faults. */
export function faultsPanel() {
  const provider = providerField();
  const kind = field("What happens", select({ name: "kind" }, KINDS));
  const times = field("How often", input({ name: "times", type: "number", min: 1, value: "1" }), { hint: "Empty: until it is cleared." });
  const delay = field("For how long, ms", input({ name: "delay_ms", type: "number", min: 0, max: 600_000 }), { hint: "Of silence or slowness; as long as the caller waits if left out." });
  const aim = field("Strikes", select({ name: "aim" }, [["payments", "Payments only"], ["all", "Whatever is asked next"]]));
  const set = h("div");
  const form = formOf({
    fields: [provider, kind, times, delay, aim],
    submit: "Set the fault",
    async onSubmit(values) {
      await ask(values.provider, "POST", "faults", { body: faultOf(values) });
      toast("The fault is set; it strikes the next call that fits.", { tone: "good" });
      invalidate(["sandbox"]);
    },
  });
  const show = () => (delay.node.hidden = !["timeout_before", "timeout_after", "slow"].includes(kind.control.value));
  kind.control.addEventListener("change", show);
  show();
  const draw = redrawn(set, (/** @type {{provider: Provider, faults: any[]}[]} */ found) => {
    const all = found.flatMap((each) => each.faults.map((fault) => ({ ...fault, provider: each.provider })));
    return all.length
      ? [h("ul", { class: "lines", "aria-label": "Faults that are set" }, all.map(faultLine)), h("p", null, button("close", "Clear all faults", clear))]
      : empty("Nothing goes wrong now", "What is set is listed here until it has struck.");
  });
  return {
    node: panel("What goes wrong", form, set),
    /** @param {{provider: Provider, told: any}[]} found */
    show: (found) => draw(found.map(({ provider: of, told }) => ({ provider: of, faults: told?.faults ?? [] }))),
  };
}

/** @param {any} fault */
function faultLine(fault) {
  const often = fault.count === null ? "until cleared" : fault.count === 1 ? "once" : `${count(fault.count)} times`;
  const name = KINDS.find(([kind]) => kind === fault.kind)?.[1] ?? words(fault.kind);
  return h("li", null, h("span", null, h("strong", null, NAMES[/** @type {Provider} */ (fault.provider)]), ` ${name}`, fault.decline_code ? ` (${declined(fault.decline_code)})` : null), h("span", { class: "quiet" }, often));
}

/** @param {Record<string, any>} values */
function faultOf({ provider, kind, times, delay_ms: delay, aim }) {
  const of = /** @type {Provider} */ (provider);
  return {
    kind,
    count: times ? Number(times) : null,
    ...(delay ? { delay_ms: Number(delay) } : kind === "slow" ? { delay_ms: SLOW_MS } : {}),
    ...(kind === "decline" ? DECLINES[of] : {}),
    ...(aim === "payments" ? { path: PAYMENTS[of] } : {}),
  };
}

async function clear() {
  try {
    await Promise.all(standIns().map((each) => ask(each, "DELETE", "faults")));
  } catch (error) {
    toastError(error);
  }
  invalidate(["sandbox"]);
}

/** The panel of webhooks. */
export function webhooksPanel() {
  const provider = providerField();
  const numbers = /** @type {[string, string, string][]} */ ([
    ["duplicates", "Copies more of each", "The same event again, at once."],
    ["delay_ms", "Delay, ms", "Before each is sent."],
    ["reorder", "Held back", "So many are held and then sent last first; a flush sends what is held."],
    ["drop", "Dropped", "So many of the next are never sent; they are fetched later."],
  ]).map(([name, label, hint]) => field(label, input({ name, type: "number", min: 0, value: "0", required: true }), { hint }));
  const paused = field("Paused: events wait until this is taken back", input({ type: "checkbox", name: "is_paused" }));
  const state = h("p", { class: "quiet" });
  const form = formOf({
    fields: [provider, ...numbers, paused],
    submit: "Apply",
    async onSubmit({ provider: to, is_paused: isPaused, ...rules }) {
      const given = Object.fromEntries(Object.entries(rules).map(([name, value]) => [name, Number(value)]));
      await ask(to, "POST", "webhooks", { body: { ...given, is_paused: isPaused } });
      isTouched = false;
      toast(`${NAMES[/** @type {Provider} */ (to)]}'s webhooks go out so from now on.`, { tone: "good" });
      invalidate(["sandbox"]);
    },
  });
  /** @type {Map<string, any>} */
  let known = new Map();
  let isTouched = false;
  form.addEventListener("input", ({ target }) => (isTouched = target !== provider.control));
  /** Show what holds now. */
  const fill = () => {
    isTouched = false;
    const rules = known.get(provider.control.value)?.rules ?? {};
    for (const each of numbers) {
      each.control.value = String(rules[each.name] ?? 0);
    }
    paused.control.checked = Boolean(rules.is_paused);
  };
  provider.control.addEventListener("change", fill);
  const draw = redrawn(state, (/** @type {any[]} */ found) => {
    if (!isTouched) {
      // But for what somebody is just typing over.
      fill();
    }
    return found.map(([name, each]) => h("span", { class: "of-provider" }, `${name}: ${count(each.queued)} on the way, ${count(each.held)} held back. `));
  });
  return {
    node: panel("Webhooks", form, state, button("bolt", "Send now what is held or waits", () => flush(known))),
    /** @param {{provider: Provider, told: any}[]} found */
    show(found) {
      known = new Map(found.map(({ provider: of, told }) => [of, told]));
      draw(found.filter(({ told }) => told).map(({ provider: of, told }) => [NAMES[of], { queued: told.queued, held: told.held, rules: told.rules }]));
    },
  };
}

/** @param {Map<string, any>} known what each stand-in told of its webhooks */
async function flush(known) {
  try {
    await Promise.all(standIns().map((each) => ask(each, "POST", "webhooks/flush")));
    const isPaused = [...known.values()].some((told) => told?.rules.is_paused);
    toast(isPaused ? "It is sent once the pause is taken back." : "What was held back or waited is sent.", { tone: isPaused ? "warn" : "good" });
  } catch (error) {
    toastError(error);
  }
  invalidate(["sandbox"]);
}

function providerField() {
  return field("Provider", select({ name: "provider" }, standIns().map((each) => /** @type {[string, string]} */ ([each, NAMES[each]]))));
}
