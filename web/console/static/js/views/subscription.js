/** One subscription: what it costs, its next invoice, and what can be done with it. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { count, money, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, input, select } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { table } from "../ui/table.js";
import { toast } from "../ui/toasts.js";
import { button, facts, heading, panel, redrawn, refocus } from "./parts.js";
import { named } from "./words.js";

const MOST_SEATS = 1_000_000;
const CONFLICT = 409;
const GOING_ON = ["trialing", "active", "past_due"];

/** @type {import("../router.js").View} */
export default {
  path: "/subscriptions/:id",
  title: "Subscription",
  needsCompany: true,
  permission: "invoices:read",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const state = h("div");
    const items = h("div");
    const coming = h("div");
    const details = h("div");
    const whole = h("div", { class: "columns" });
    let subscription = /** @type {any} */ (null);
    const drawHead = redrawn(head, (/** @type {any} */ each) => [each.plan, " ", badge(each.status)]);
    const drawItems = redrawn(items, drawnItems);
    const drawDetails = redrawn(details, drawnDetails);
    const acts = ACTS.map(({ icon, text, tone, ask }) => button(icon, text, () => ask(subscription), { class: tone ?? null, hidden: true }));
    const stops = [
      watch(query(["subscriptions", id], ({ signal }) => api.get(`/subscriptions/${id}`, { signal })), (result) => {
        subscription = result.data;
        replace(state, subscription && !result.error ? null : shown(result, () => null));
        whole.hidden = !subscription;
        if (!subscription) {
          return;
        }
        context.setTitle(subscription.plan);
        ACTS.forEach(({ isOffered }, n) => {
          acts[n].hidden = !can("invoices:write") || subscription.provider !== null || !isOffered(subscription);
        });
        drawHead(subscription);
        drawItems(subscription);
        drawDetails(subscription);
      }),
      watch(query(["subscriptions", id, "upcoming"], ({ signal }) => api.get(`/subscriptions/${id}/upcoming`, { signal })), (result) => {
        const isOver = /** @type {any} */ (result.error)?.status === CONFLICT;
        replace(coming, isOver ? h("p", null, "It will not be billed again.") : shown(result, drawnUpcoming));
      }),
    ];
    replace(
      whole,
      h("div", { class: "stack" }, panel("Next invoice", coming), items),
      h("div", { class: "stack" }, panel("Details", details)),
    );
    const node = h("section", null, heading(head, acts, { path: "/subscriptions", label: "Subscriptions" }), state, whole);
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

/** @type {{icon: string, text: string, tone?: string, isOffered: (subscription: any) => boolean, ask: (subscription: any) => Promise<void>}[]} */
const ACTS = [
  { icon: "people", text: "Change seats", isOffered: ({ status }) => GOING_ON.includes(status), ask: askSeats },
  { icon: "clock", text: "Pause", isOffered: ({ status }) => GOING_ON.includes(status), ask: askPause },
  { icon: "retry", text: "Resume", tone: "primary", isOffered: ({ status }) => status === "paused", ask: askResume },
  { icon: "check", text: "Keep it", tone: "primary", isOffered: (each) => each.cancel_at_period_end, ask: askKeep },
  { icon: "close", text: "Cancel subscription", isOffered: (each) => each.status !== "canceled" && !each.cancel_at_period_end, ask: askCancel },
];

function drawnItems(/** @type {any} */ subscription) {
  const { currency } = subscription;
  const rows = table({
    caption: "What it costs",
    isCaptionShown: true,
    columns: [
      { label: "Module", isHeader: true, cell: (each) => each.module },
      { label: "Asked", cell: (each) => words(each.kind) },
      { label: "Each", isNumber: true, cell: (each) => (each.tiers.length ? `${count(each.tiers.length)} tiers` : money(each.unit_amount, currency)) },
      { label: "Included", isNumber: true, cell: (each) => count(each.included) },
    ],
    rowKey: (each) => `${each.module_id} ${each.kind}`,
    empty: () => empty("Nothing is asked for it"),
  });
  rows.show(/** @type {any} */ ({ data: subscription.items, error: null, isPrevious: false, isLoading: false }));
  return rows.node;
}

function drawnDetails(/** @type {any} */ subscription) {
  const full = { isFull: true };
  const { interval, interval_count: number } = subscription;
  return facts([
    ["Seats", count(subscription.seats)],
    ["Billed", number === 1 ? `every ${interval}` : `every ${count(number)} ${interval}s`],
    ["Period began", time(subscription.current_period_start, full)],
    ["Period ends", time(subscription.current_period_end, full)],
    ["Trial ends", subscription.trial_ends_at ? time(subscription.trial_ends_at, full) : null],
    ["Ends with its period", subscription.cancel_at_period_end ? "yes" : null],
    ["Paused", subscription.paused_at ? time(subscription.paused_at, full) : null],
    ["Ended", subscription.ended_at ? time(subscription.ended_at, full) : null],
    ["Discount", Number(subscription.discount_percent) ? `${count(subscription.discount_percent)} %` : null],
    ["Taxes", subscription.taxes.map((/** @type {any} */ tax) => `${tax.name} ${count(tax.percent)} %`).join(", ") || null],
    ["Time zone", subscription.time_zone],
    ["Billed by", subscription.provider ? named(subscription.provider) : null],
    ["Subscription id", h("code", null, subscription.id)],
  ]);
}

function drawnUpcoming(/** @type {any} */ coming) {
  return [
    facts([
      ["Made", time(coming.at)],
      ["To pay", h("strong", null, money(coming.amount, coming.currency))],
    ]),
    drawnLines(coming.lines, coming.currency),
  ];
}

/** @param {any[]} lines @param {string} currency */
function drawnLines(lines, currency) {
  return h(
    "ul",
    { class: "plain-list" },
    lines.map((each) => h("li", null, each.description, ": ", h("strong", null, money(each.total, currency)))),
  );
}

/** @param {any} subscription */
async function askSeats(subscription) {
  const act = newAct();
  const preview = h("div", { role: "status" });
  const seats = field("Seats", input({ name: "seats", type: "number", required: true, min: 1, max: MOST_SEATS, value: String(subscription.seats) }));
  let asked = 0;
  const look = async () => {
    asked += 1;
    const mine = asked;
    const number = Number(seats.control.value);
    if (!Number.isInteger(number) || number < 1 || number > MOST_SEATS) {
      replace(preview, h("p", null, "Say how many."));
      return;
    }
    let told;
    try {
      told = drawnPreview(await api.post(`/subscriptions/${subscription.id}/change/preview`, { seats: number }), subscription.currency);
    } catch (error) {
      told = h("p", null, `What it comes to cannot be told: ${/** @type {any} */ (error).message}`);
    }
    if (mine === asked) {
      replace(preview, told);
    }
  };
  seats.control.addEventListener("change", look);
  void look();
  await confirm({
    title: "Change the seats?",
    consequences: [h("p", null, "They are another number at once. The next invoice bills and credits the rest of the period, by the second."), preview],
    fields: [seats],
    submit: "Change seats",
    act: (values) => send(subscription, "change", { seats: Number(values.seats) }, act),
  });
  refocus();
}

/** @param {any} told @param {string} currency */
function drawnPreview(told, currency) {
  if (told.change.length === 0) {
    return h("p", null, "Nothing changes until the next invoice.");
  }
  return [drawnLines(told.change, currency), h("p", null, "For the rest of the period: ", h("strong", null, money(told.change_total, currency)))];
}

/** @param {any} subscription */
async function askPause(subscription) {
  const act = newAct();
  await confirm({
    title: "Pause this subscription?",
    consequences: h("p", null, "Its modules are taken away and nothing is billed. What is left of the period is credited to the next invoice."),
    submit: "Pause",
    act: () => send(subscription, "pause", {}, act),
  });
  refocus();
}

/** @param {any} subscription */
async function askResume(subscription) {
  const act = newAct();
  await confirm({
    title: "Go on with this subscription?",
    consequences: h("p", null, "A new period begins now and is billed at once."),
    submit: "Resume",
    act: () => send(subscription, "resume", {}, act),
  });
  refocus();
}

/** @param {any} subscription */
async function askKeep(subscription) {
  await send(subscription, "keep", {}, newAct());
  refocus();
}

/** @param {any} subscription */
async function askCancel(subscription) {
  const act = newAct();
  const when = field(
    "When",
    select({ name: "at" }, [
      ["period_end", "When its period ends"],
      ["now", "Now, with what is left credited"],
    ]),
  );
  await confirm({
    title: "Cancel this subscription?",
    consequences: h("p", null, "What was used is billed when it ends. Until then it can be kept; what has ended cannot be taken up again."),
    fields: [when],
    submit: "Cancel subscription",
    tone: "danger",
    act: (values) => send(subscription, "cancel", { at: values.at }, act),
  });
  refocus();
}

/** @param {any} subscription @param {string} what @param {any} body @param {any} act */
async function send(subscription, what, body, act) {
  await api.post(`/subscriptions/${subscription.id}/${what}`, body, { act });
  toast("Done.", { tone: "good" });
  invalidate(["subscriptions"]);
  invalidate(["invoices"]);
}
