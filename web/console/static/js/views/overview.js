/** What is happening now: what moves, what is due and paid, what waits for somebody. */

import { api } from "../api.js";
import { hearTime, serverNow } from "../clock.js";
import { h, replace } from "../dom.js";
import { dateTime, money, status, time, tone, words } from "../format.js";
import { query, watch } from "../query.js";
import { href, link } from "../router.js";
import { can, companyId } from "../session.js";
import { badge } from "../ui/badge.js";
import { dayBars, movingCount } from "../ui/chart.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { feedPanel } from "./feed.js";
import { countdown, heading, panel, redrawn, seen } from "./parts.js";
import { nameOf, onlineStrip } from "./people.js";
import { aboutOf } from "./words.js";

const ALERTS = 5;
const LATEST = 6;
const STATUSES = ["succeeded", "processing", "requires_action", "failed", "needs_review", "refunded", "partially_refunded", "canceled", "pending"];

/** @type {import("../router.js").View} */
export default {
  path: "/",
  title: "Overview",
  nav: { label: "Overview", icon: "overview" },
  permission: "payments:read",
  show(context) {
    const ofCompany = companyId() !== null;
    const feed = feedPanel(nameOf);
    const strip = onlineStrip();
    const counts = countsOf();
    const state = h("div");
    const sums = h("div", { class: "currencies" });
    const waiting = h("div", { class: "stack" });
    const retries = h("div");
    const alerts = h("div");
    const latest = h("div");
    /** @type {AbortController} */
    let drawing = new AbortController();

    const drawSums = redrawn(sums, (/** @type {any} */ { currencies, totals }) =>
      currencies.length ? [totalsCard(currencies, totals), currencies.map(currencyCard)] : h("div", { class: "card" }, empty("No money has moved yet", "Issue an invoice and pay it; what is due and paid is summed here by currency.")),
    );
    const drawRetries = redrawn(retries, (/** @type {any} */ told) => {
      // Each has its own clock, which ends when it is drawn anew.
      drawing.abort();
      drawing = new AbortController();
      return drawnRetries(told, drawing.signal);
    });
    const drawWaiting = redrawn(waiting, drawnDisputes);
    const drawAlerts = redrawn(alerts, (/** @type {any} */ result) => shown(result, drawnAlerts));
    const drawLatest = redrawn(latest, (/** @type {any} */ result) => shown(result, drawnLatest));

    const path = can("operations") ? "/operations/alerts" : "/alerts";
    const stops = [
      feed.stop,
      strip.stop,
      () => drawing.abort(),
      watch(query(["overview"], ({ signal }) => api.get("/overview", { signal })), (result) => {
        replace(state, result.data && !result.error ? null : shown(result, () => null));
        if (result.data) {
          hearTime(result.data.at);
          drawSums({ currencies: result.data.currencies, totals: result.data.totals });
          drawRetries(result.data.retries);
          drawWaiting(result.data.disputes_needing_response);
          counts.show(result.data.payments);
        }
      }),
      watch(query(["alerts", "open"], ({ signal }) => api.get(path, { query: { is_resolved: false, limit: ALERTS }, signal })), (result) => drawAlerts(seen(result))),
    ];
    if (ofCompany) {
      stops.push(watch(query(["payments", "latest"], ({ signal }) => api.get("/payments", { query: { limit: LATEST }, signal })), (result) => drawLatest(seen(result))));
    }
    const node = h(
      "section",
      { class: "overview" },
      heading("Overview", strip.node),
      state,
      sums,
      counts.node,
      h(
        "div",
        { class: "columns" },
        h("div", { class: "stack" }, feed.node, ofCompany ? panel("Latest payments", latest) : null),
        h("div", { class: "stack" }, panel("Open alerts", alerts), waiting, panel("Charged again next", retries)),
      ),
    );
    context.signal.addEventListener("abort", () => drawing.abort());
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

/** @param {any} one of the overview's currencies */
function currencyCard({ currency, due, overdue, paid, refunded, days }) {
  const told = (/** @type {string} */ name, /** @type {any} */ amount) => h("div", null, h("dt", null, name), h("dd", { class: "number" }, money(amount, currency)));
  return h(
    "article",
    { class: "card currency", "aria-label": currency },
    h("header", null, h("h2", null, currency), h("span", { class: "quiet" }, "paid today")),
    h("p", { class: "figure" }, money(paid.today, currency)),
    dayBars(days, currency),
    h("p", { class: "quiet bars-legend" }, h("span", null, "30 days"), h("span", null, "today")),
    h(
      "dl",
      { class: "sums" },
      told("Paid, 7 days", paid.last_7_days),
      told("Paid, 30 days", paid.last_30_days),
      told("Given back, 30 days", refunded.last_30_days),
      told(`Due, ${due.number} open`, due.amount),
      overdue.number ? h("div", { class: "late" }, h("dt", null, `Overdue, ${overdue.number}`), h("dd", { class: "number" }, money(overdue.amount, currency))) : null,
    ),
  );
}

/** What all currencies come to in one; what is in none of the sums is named. */
function totalsCard(/** @type {any[]} */ currencies, /** @type {any} */ totals) {
  if (!totals || (currencies.length === 1 && currencies[0].currency === totals.currency)) {
    return null;
  }
  const told = (/** @type {string} */ name, /** @type {any} */ amount) => h("div", null, h("dt", null, name), h("dd", { class: "number" }, money(amount, totals.currency)));
  const missing = totals.missing.map((/** @type {any} */ each) => `${each.currency} (${each.reason === "stale_rate" ? "its rate is too old" : "no rate"})`);
  return h(
    "article",
    { class: "card currency", "aria-label": `All in ${totals.currency}` },
    h("header", null, h("h2", null, `All in ${totals.currency}`), h("span", { class: "quiet" }, "paid today")),
    h("p", { class: "figure" }, money(totals.paid.today, totals.currency)),
    h("dl", { class: "sums" }, told("Paid, 7 days", totals.paid.last_7_days), told("Paid, 30 days", totals.paid.last_30_days), told("Given back, 30 days", totals.refunded.last_30_days), told("Due", totals.due)),
    missing.length ? h("p", { class: "told warn" }, icon("alert"), h("span", null, `Without ${missing.join(", ")}`)) : null,
    totals.is_stale ? h("p", { class: "quiet" }, "By an old rate.") : null,
  );
}

/** How many payments stand where; the numbers move as they do. */
function countsOf() {
  const numbers = new Map(STATUSES.map((each) => [each, movingCount()]));
  const items = STATUSES.map((each) =>
    h(
      "li",
      { class: tone(each), dataset: { status: each } },
      h("a", { href: href("/payments", { status: each }) }, h("span", { class: "count-number" }, /** @type {any} */ (numbers.get(each)).node), h("span", { class: "count-name" }, status(each))),
    ),
  );
  const node = h("ul", { class: "counts", "aria-label": "Payments by status" }, items);
  node.hidden = true;
  return {
    node,
    show(/** @type {Record<string, number>} */ payments) {
      node.hidden = Object.keys(payments).length === 0;
      STATUSES.forEach((each, place) => {
        items[place].hidden = !payments[each] && each !== "succeeded";
        numbers.get(each)?.set(payments[each] ?? 0);
      });
    },
  };
}

/** @param {{number: number, soonest: any[]}} retries @param {AbortSignal} signal */
function drawnRetries({ number, soonest }, signal) {
  if (number === 0) {
    return empty("No payment climbs the ladder", "A declined one that may pass later is shown here with its time.");
  }
  const lines = soonest.map((each) => {
    const left = countdown(serverNow, signal);
    left.aim(each.next_retry_at);
    return h(
      "li",
      null,
      h("a", { href: href(`/payments/${each.transaction_id}`) }, h("strong", { class: "number" }, money(each.amount, each.currency)), ` ${each.invoice_number}`, companyId() === null ? ` of ${each.company_name}` : null),
      h("span", { class: "quiet", title: dateTime(each.next_retry_at) }, left.node),
    );
  });
  const more = number - soonest.length;
  return [h("ol", { class: "lines" }, lines), more > 0 ? h("p", { class: "quiet" }, `and ${more} more`) : null];
}

/** @param {{number: number, first_due_at: string | null}} disputes */
function drawnDisputes({ number, first_due_at: first }) {
  if (number === 0) {
    return null;
  }
  const noun = number === 1 ? "dispute needs" : "disputes need";
  return h("p", { class: "told warn" }, icon("dispute"), h("span", null, link("/disputes?state=open", `${number} ${noun} a response`), first ? [", the first ", time(first)] : null));
}

function drawnAlerts(/** @type {any} */ { data, next_cursor: next }) {
  if (data.length === 0) {
    return empty("Nothing waits for you", "What somebody must see is told here.");
  }
  const lines = data.map((/** @type {any} */ alert) => {
    const to = aboutOf(alert);
    return h(
      "li",
      null,
      h("span", null, badge(alert.severity), " ", to ? h("a", { href: to }, words(alert.kind)) : h("strong", null, words(alert.kind)), h("div", { class: "quiet wrap" }, alert.message)),
      h("span", { class: "quiet" }, time(alert.created_at)),
    );
  });
  return [h("ol", { class: "lines" }, lines), h("p", null, link(can("operations") ? "/operations/alerts" : "/alerts", next ? "All alerts" : "See the alerts"))];
}

function drawnLatest(/** @type {any} */ { data }) {
  if (data.length === 0) {
    return empty("No payments yet", "One begins when an invoice is paid.", link("/invoices", "Go to the invoices"));
  }
  const lines = data.map((/** @type {any} */ each) =>
    h(
      "li",
      null,
      h("a", { href: href(`/payments/${each.id}`) }, h("strong", { class: "number" }, money(each.amount, each.currency))),
      badge(each.status),
      h("span", { class: "quiet" }, time(each.created_at)),
    ),
  );
  return [h("ol", { class: "lines latest" }, lines), h("p", null, link("/payments", "All payments"))];
}
