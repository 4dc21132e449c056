/** What happened to an invoice's payments and what will: the ladder, drawn as its steps. */

import { serverNow } from "../clock.js";
import { h } from "../dom.js";
import { dateTime, duration, money, time, words } from "../format.js";
import { badge } from "../ui/badge.js";
import { icon } from "../ui/icons.js";
import { countdown, panel, redrawn, seen } from "./parts.js";
import { methodName } from "./words.js";

const HOUR_S = 3600;
/** @type {Record<string, string>} */
const TRIGGERS = { first: "First charge", ladder: "Retry", manual: "By hand" };
/** @type {Record<string, string>} */
const OUTCOMES = { succeeded: "good", declined: "bad", rejected: "bad", unknown: "warn" };

/**
 * Return the panel of an invoice's ladder; it is hidden while there is nothing to tell.
 *
 * @param {AbortSignal} signal
 */
export function ladderPanel(signal) {
  const next = countdown(serverNow, signal);
  const body = h("div", { class: "stack" });
  const node = panel("Charges and retries", body);
  node.hidden = true;
  const draw = redrawn(body, (/** @type {any} */ { data }) => data && drawn(data, next));
  return {
    node,
    /** @param {import("../query.js").Result<any>} result @param {string} currency */
    show(result, currency) {
      const { data } = result;
      node.hidden = !data || isPlain(data);
      next.aim(data?.next_retry_at);
      draw({ data: seen(result).data && { ...data, currency } });
    },
  };
}

/** What was paid at once has no ladder to show. */
function isPlain(/** @type {any} */ { attempts, state, stopped_because: stopped }) {
  const isPaid = attempts.every((/** @type {any} */ each) => each.outcome === "succeeded" || each.outcome === "processing");
  return attempts.length <= 1 && isPaid && state === "none" && stopped === null;
}

/** @param {any} dunning @param {ReturnType<typeof countdown>} next */
function drawn(dunning, next) {
  const { customer_action: action, stopped_because: stopped } = dunning;
  return [
    dunning.next_retry_at ? nextRetry(dunning, next) : null,
    stopped ? h("p", { class: "told" }, icon("alert"), h("span", null, stopped.sentence)) : null,
    h("ol", { class: "ladder" }, dunning.attempts.map((/** @type {any} */ each) => made(each, dunning.currency)), dunning.coming.map(toCome)),
    action.action === "none"
      ? null
      : h("p", { class: "told" }, icon("people"), h("span", null, h("strong", null, "The customer: "), action.sentence)),
    h("p", { class: "quiet" }, policyTold(dunning.policy)),
  ];
}

/** @param {any} dunning @param {ReturnType<typeof countdown>} next */
function nextRetry(dunning, next) {
  const { next_retry_at: at, retries_left: left } = dunning;
  const others = left > 1 ? `, then ${left - 1} more if that is declined` : ", the last one";
  return h(
    "p",
    { class: "next-retry" },
    icon("clock"),
    h("span", null, "Charged again ", h("strong", null, next.node), h("br"), h("span", { class: "quiet" }, dateTime(at), others)),
  );
}

/** @param {any} attempt @param {string} currency */
function made(attempt, currency) {
  const tone = OUTCOMES[attempt.outcome] ?? "busy";
  return h(
    "li",
    { class: `rung ${tone}` },
    h("span", { class: "rung-head" }, TRIGGERS[attempt.trigger] ?? words(attempt.trigger), " ", badge(attempt.outcome)),
    h("span", { class: "quiet" }, time(attempt.at), " · ", attempt.method ? methodName(attempt.method) : "in the browser", " · ", money(attempt.amount, currency)),
    attempt.message ? h("span", null, attempt.message) : null,
    attempt.reason ? h("span", { class: "quiet" }, attempt.reason) : null,
  );
}

function toCome(/** @type {any} */ retry) {
  return h(
    "li",
    { class: "rung to-come" },
    h("span", { class: "rung-head" }, "Retry ", badge("scheduled", { text: retry.is_scheduled ? "Scheduled" : "If declined", tone: retry.is_scheduled ? "busy" : "calm" })),
    h("span", { class: "quiet" }, retry.is_scheduled ? time(retry.at, { isFull: true }) : ["not before ", time(retry.at, { isFull: true })]),
  );
}

function policyTold(/** @type {{delays_h: number[], is_enabled: boolean}} */ policy) {
  if (!policy.is_enabled || policy.delays_h.length === 0) {
    return "The company's policy: no retries.";
  }
  const waits = policy.delays_h.map((hours) => duration(hours * HOUR_S)).join(", ");
  return `The company's policy: again after ${waits}.`;
}
