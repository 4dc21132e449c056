/** The sandbox's clock, which is everybody's: what it is, and what happens when it is set forward. */

import { hearTime } from "../clock.js";
import { h } from "../dom.js";
import { dateTime, duration, money } from "../format.js";
import { invalidate } from "../query.js";
import { link } from "../router.js";
import { find, session } from "../session.js";
import { store } from "../store.js";
import { field, formOf, input } from "../ui/forms.js";
import { empty } from "../ui/states.js";
import { toast, toastError } from "../ui/toasts.js";
import { button, facts, panel, redrawn } from "./parts.js";
import { ask, standIns } from "./standins.js";

const DAY_H = 24;
const HOUR_MS = 3_600_000;
// Somewhere in it a number that is more than none.
const SPAN = /^(?=.*[1-9])[0-9]{1,5}[dhm]([0-9]{1,5}[hm]){0,2}$/;

/** The panel of the clock. */
export function clockPanel() {
  const now = h("div");
  const ladder = h("div");
  const span = field("Forward by", input({ name: "span", required: true, placeholder: "1d12h", size: 8 }), { hint: "Days, hours and minutes, such as 3d, 36h or 1d12h. It never goes back." });
  span.control.addEventListener("input", () => span.control.setCustomValidity(faultOfSpan(span.control.value.trim())));
  const form = formOf({ fields: [span], submit: "Advance", onSubmit: (values) => advance(values.span) });
  const quick = h(
    "div",
    { class: "actions" },
    button("clock", "1 hour", () => advance("1h").catch(toastError)),
    button("clock", "24 hours", () => advance(`${DAY_H}h`).catch(toastError)),
  );
  const warning = h("p", { class: "hint" }, "A sign-in lives for 24 hours of this clock: a day forward signs everybody out, you too. Sign in again and go on; nothing is lost.");
  const drawNow = redrawn(now, (/** @type {any} */ { at, ahead_s: ahead }) =>
    facts([
      ["It is", dateTime(at)],
      ["Ahead of this machine", ahead ? duration(ahead) : "not at all"],
    ]),
  );
  const drawLadder = redrawn(ladder, (/** @type {any} */ { retries, at }) => laddersNext(retries, Date.parse(at)));
  return {
    node: panel("The clock", now, quick, form, warning, h("h3", null, "What the ladder will do"), ladder),
    showClock: (/** @type {any} */ told) => drawNow({ at: told.at, ahead_s: told.ahead_s }),
    showRetries: (/** @type {any} */ overview) => drawLadder({ retries: overview.retries, at: overview.at }),
  };
}

function faultOfSpan(/** @type {string} */ text) {
  return text === "" || SPAN.test(text) ? "" : "Write more than none, in days, hours and minutes, such as 3d, 36h or 1d12h.";
}

/** @param {{number: number, soonest: any[]}} retries @param {number} nowMs */
function laddersNext({ number, soonest }, nowMs) {
  if (number === 0) {
    return empty("It has nothing to charge again", "Pay with a card without funds, and what comes next is listed here.");
  }
  const lines = soonest.map((each) => {
    const hours = Math.max(0, Math.ceil((Date.parse(each.next_retry_at) - nowMs) / HOUR_MS));
    return h(
      "li",
      null,
      h("span", null, link(`/payments/${each.transaction_id}`, each.invoice_number), ` ${money(each.amount, each.currency)}`),
      h("span", { class: "quiet", title: dateTime(each.next_retry_at) }, hours <= 0 ? "is due" : hours <= DAY_H ? `with ${hours} h more` : `with ${Math.ceil(hours / DAY_H)} days more`),
    );
  });
  const more = number - soonest.length;
  return [h("ul", { class: "lines", "aria-label": "Coming retries" }, lines), more > 0 ? h("p", { class: "quiet" }, `And ${more} later.`) : null];
}

/** Set the clock forward for everybody, and say so if that ended the own sign-in. */
async function advance(/** @type {string} */ span) {
  const told = await ask(standIns()[0], "POST", "clock", { body: { advance: span } });
  hearTime(told.at);
  await find();
  if (session().status === "in") {
    toast(`It is ${dateTime(told.at)} now. What has become due is done within seconds.`, { tone: "good" });
    invalidate([]);
  } else {
    const away = toast(`It is ${dateTime(told.at)} now, and your sign-in has ended with its day. Sign in again to go on.`, { tone: "warn", stayMs: 0 });
    const stop = store.subscribe(
      (state) => state.session.status,
      () => {
        stop();
        away();
      },
    );
  }
}
