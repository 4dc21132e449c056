/** One payment: where it stands, what comes next, what happened and why, and what can be done. */

import { api } from "../api.js";
import { serverNow } from "../clock.js";
import { h, replace } from "../dom.js";
import { money, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { link } from "../router.js";
import { can } from "../session.js";
import { store } from "../store.js";
import { badge } from "../ui/badge.js";
import { icon } from "../ui/icons.js";
import { shown } from "../ui/states.js";
import { actsOf } from "./acts.js";
import { ladderPanel } from "./dunning.js";
import { historyPanel } from "./history.js";
import { countdown, facts, heading, panel, redrawn, seen } from "./parts.js";
import { named } from "./words.js";

// The last lines of a history, such as the provider's webhook, come after what is told of it.
const AFTERMATH_MS = 2500;

/** @type {import("../router.js").View} */
export default {
  path: "/payments/:id",
  title: "Payment",
  needsCompany: true,
  permission: "payments:read",
  show(context) {
    const { id } = context.params;
    const at = `/payments/${id}`;
    const acts = actsOf();
    const ladder = ladderPanel(context.signal);
    const history = historyPanel();
    const refunds = refundsPanel();
    const whole = h("div", { class: "stack" });
    const aside = h("div", { class: "stack" });
    const head = h("span");
    const state = h("div");
    const details = h("div");
    /** @type {(() => void)[]} */
    const stops = [];
    let dunning = /** @type {any} */ (null);
    let lines = /** @type {any} */ (null);
    let invoiceId = /** @type {string | null} */ (null);
    const again = countdown(serverNow, context.signal);
    const next = h("p", { class: "head-next" }, icon("clock"), "Charged again ", again.node);
    next.hidden = true;
    const drawHead = redrawn(head, drawnHead);
    const drawDetails = redrawn(details, (/** @type {any} */ payment) => drawnDetails(payment));

    const showHistory = () => lines && history.show(lines, dunning?.data, id);

    /** What belongs to the payment's invoice is asked for once that is known. */
    function followInvoice(/** @type {any} */ payment) {
      if (invoiceId === payment.invoice_id) {
        return;
      }
      invoiceId = payment.invoice_id;
      const asked = query(["invoices", invoiceId, "dunning"], ({ signal }) => api.get(`/invoices/${invoiceId}/dunning`, { signal }));
      stops.push(
        watch(asked, (result) => {
          dunning = result;
          ladder.show(result, payment.currency);
          showHistory();
        }),
      );
    }

    stops.push(
      watch(query(["payments", id], ({ signal }) => api.get(at, { signal })), (result) => {
        const payment = result.data;
        replace(state, payment && !result.error ? null : shown(result, () => null));
        whole.hidden = !payment;
        if (!payment) {
          return;
        }
        context.setTitle(`${money(payment.amount, payment.currency)}, payment`);
        drawHead(payment);
        acts.show(payment);
        next.hidden = payment.next_retry_at === null;
        again.aim(payment.next_retry_at);
        drawDetails(payment);
        followInvoice(payment);
      }),
      watch(query(["payments", id, "timeline"], ({ signal }) => wholeTimeline(at, signal)), (result) => {
        lines = result;
        showHistory();
      }),
      watch(query(["payments", id, "refunds"], ({ signal }) => api.get(`${at}/refunds`, { signal })), refunds.show),
      aftermath(id),
    );
    replace(aside, ladder.node, panel("Details", details), refunds.node);
    replace(whole, history.drawing, h("div", { class: "columns" }, history.node, aside));
    const node = h(
      "section",
      { class: "payment" },
      heading(head, acts.buttons, { path: "/payments", label: "Payments" }),
      next,
      state,
      whole,
    );
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

/** @param {string} at @param {AbortSignal} signal */
async function wholeTimeline(at, signal) {
  return api.pages(`${at}/timeline`, { signal, count: 10 });
}

/** Read the history once more a moment after something was told of the payment. */
function aftermath(/** @type {string} */ id) {
  /** @type {any} */
  let timer;
  const stop = store.subscribe(
    (state) => state.feed[0]?.id,
    () => {
      const { data } = store.get().feed[0] ?? { data: {} };
      if (data.transaction_id === id) {
        clearTimeout(timer);
        timer = setTimeout(() => invalidate(["payments", id]), AFTERMATH_MS);
      }
    },
  );
  return () => {
    clearTimeout(timer);
    stop();
  };
}

function drawnHead(/** @type {any} */ payment) {
  return [
    h("span", { class: "figure" }, money(payment.amount, payment.currency)),
    " ",
    badge(payment.status),
    payment.is_disputed ? [" ", badge("disputed", { text: "Disputed", tone: "warn" })] : null,
  ];
}

function drawnDetails(/** @type {any} */ payment) {
  const { currency, error, resume } = payment;
  return [
    error ? h("p", { class: "told bad" }, icon("dispute"), h("span", null, h("strong", null, words(error.code ?? "failed")), h("br"), error.message)) : null,
    reviewTold(payment),
    facts([
      ["Invoice", link(`/invoices/${payment.invoice_id}`, "See the invoice")],
      ["Captured", money(payment.amount_captured, currency)],
      ["Given back", Number(payment.amount_refunded) > 0 ? money(payment.amount_refunded, currency) : null],
      ["Provider", named(payment.payment_method)],
      ["Paid", payment.off_session ? "off-session, without the customer" : "with the customer there"],
      ["Waits until", resume.is_possible ? time(resume.until) : null],
      ["Retries made", payment.retry_count || null],
      ["Begun", time(payment.created_at, { isFull: true })],
      ["Changed", time(payment.updated_at)],
      ["Payment id", h("code", null, payment.id)],
      ["Provider's id", payment.provider_transaction_id ? h("code", null, payment.provider_transaction_id) : null],
    ]),
    payment.is_disputed ? h("p", null, link(`/disputes?transaction_id=${payment.id}`, "See its dispute")) : null,
  ];
}

function reviewTold(/** @type {any} */ payment) {
  if (payment.status !== "needs_review") {
    return null;
  }
  const told = "Nobody can tell what became of it. ";
  return h(
    "p",
    { class: "told warn" },
    icon("alert"),
    h("span", null, told, can("operations") ? link("/operations/reviews", "Settle it") : "An operator will look at the provider's dashboard."),
  );
}

/** The refunds of a payment; nothing at all while there are none. */
function refundsPanel() {
  const body = h("div");
  const node = panel("Refunds", body);
  const draw = redrawn(body, (/** @type {any} */ result) => shown(result, drawnRefunds));
  return {
    node,
    /** @param {import("../query.js").Result<any>} result */
    show(result) {
      node.hidden = (result.data?.data.length ?? 0) === 0 && !result.error;
      draw(seen(result));
    },
  };
}

function drawnRefunds(/** @type {any} */ { data }) {
  const lines = data.map((/** @type {any} */ each) =>
    h(
      "li",
      { dataset: { refund: each.refund_id } },
      h(
        "span",
        null,
        h("strong", { class: "number" }, money(each.amount, each.currency)),
        " ",
        badge(each.status),
        h("div", { class: "quiet" }, words(each.reason), each.notes ? `: ${each.notes}` : null),
        each.error_message ? h("div", { class: "quiet" }, each.error_message) : null,
      ),
      h("span", { class: "quiet" }, time(each.created_at)),
    ),
  );
  return h("ol", { class: "lines" }, lines);
}
