/** One dispute: until when to answer, with what, or to give it up. */

import { api, newAct } from "../api.js";
import { serverNow } from "../clock.js";
import { h, replace } from "../dom.js";
import { dateTime, money, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { link } from "../router.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, formOf, input, textarea } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { button, countdown, facts, heading, panel, redrawn, refocus } from "./parts.js";
import { named } from "./words.js";

const WAIT_S = 10;
const NEEDING = ["needs_response", "warning_needs_response"];
// What a bank reads first, and what it takes besides. Files are named by their ids at the provider.
const USUAL = ["product_description", "customer_name", "customer_email_address", "service_date", "uncategorized_text"];
const LONG = [
  "product_description",
  "access_activity_log",
  "cancellation_policy_disclosure",
  "cancellation_rebuttal",
  "duplicate_charge_explanation",
  "refund_policy_disclosure",
  "refund_refusal_explanation",
  "uncategorized_text",
];
const LINES = [
  "customer_name",
  "customer_email_address",
  "service_date",
  "billing_address",
  "customer_purchase_ip",
  "duplicate_charge_id",
  "shipping_address",
  "shipping_carrier",
  "shipping_date",
  "shipping_tracking_number",
];
const FILES = [
  "receipt",
  "customer_communication",
  "customer_signature",
  "service_documentation",
  "shipping_documentation",
  "refund_policy",
  "cancellation_policy",
  "duplicate_charge_documentation",
  "uncategorized_file",
];
const LONGEST_LINE = 500;
const LONGEST_TEXT = 20_000;

/** @type {import("../router.js").View} */
export default {
  path: "/disputes/:id",
  title: "Dispute",
  needsCompany: true,
  permission: "disputes:read",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const state = h("div");
    const details = h("div");
    const told = h("div");
    const answer = h("div", { class: "stack" });
    const whole = h("div", { class: "columns" });
    const left = countdown(serverNow, context.signal);
    let dispute = /** @type {any} */ (null);
    const accept = button("close", "Accept the dispute", () => askAccept(dispute), { class: "danger", hidden: true });
    const drawHead = redrawn(head, drawnHead);
    const drawDetails = redrawn(details, (/** @type {any} */ each) => drawnDetails(each, left.node));
    const drawTold = redrawn(told, drawnActions);
    // A form that somebody fills in stays as it is, whatever is told meanwhile.
    const drawAnswer = redrawn(answer, (/** @type {{isOpen: boolean}} */ { isOpen }) => (isOpen ? evidenceForm(dispute) : null));
    const stop = watch(query(["disputes", id], ({ signal }) => api.get(`/disputes/${id}`, { signal })), (result) => {
      dispute = result.data;
      replace(state, dispute && !result.error ? null : shown(result, () => null));
      whole.hidden = !dispute;
      if (!dispute) {
        return;
      }
      const canAnswer = isAnswerable(dispute) && can("disputes:write");
      const hadFocus = accept === document.activeElement || whole.contains(document.activeElement);
      context.setTitle(`${money(dispute.amount, dispute.currency)}, dispute`);
      left.aim(dispute.evidence_due_at);
      if (!canAnswer && accept === document.activeElement) {
        accept.blur();
      }
      accept.hidden = !canAnswer;
      drawHead(dispute);
      drawDetails(dispute);
      drawTold(dispute);
      drawAnswer({ isOpen: canAnswer && !isPast(dispute) });
      if (hadFocus) {
        refocus();
      }
    });
    replace(
      whole,
      h("div", { class: "stack" }, answer, panel("Told to the provider", told)),
      h("div", { class: "stack" }, panel("Details", details)),
    );
    const node = h("section", null, heading(head, accept, { path: "/disputes", label: "Disputes" }), state, whole);
    return { node, stop };
  },
};

function isAnswerable(/** @type {any} */ dispute) {
  return NEEDING.includes(dispute.status) && !dispute.actions.some((/** @type {any} */ each) => each.status === "pending");
}

function isPast(/** @type {any} */ dispute) {
  return dispute.evidence_due_at !== null && Date.parse(dispute.evidence_due_at) <= serverNow();
}

function drawnHead(/** @type {any} */ dispute) {
  return [h("span", { class: "figure" }, money(dispute.amount, dispute.currency)), " ", badge(dispute.status)];
}

/** @param {any} dispute @param {HTMLElement} left */
function drawnDetails(dispute, left) {
  const { currency, evidence_due_at: due } = dispute;
  const isWaiting = NEEDING.includes(dispute.status) && due !== null;
  return [
    isWaiting
      ? h("p", { class: "told warn" }, icon("clock"), h("span", null, isPast(dispute) ? "The evidence was due " : "Evidence is due ", h("strong", null, isPast(dispute) ? dateTime(due) : left), h("br"), isPast(dispute) ? "It can only be accepted now." : dateTime(due)))
      : null,
    facts([
      ["Payment", link(`/payments/${dispute.transaction_id}`, "See the payment")],
      ["Reason", words(dispute.reason)],
      ["Taken by the bank", money(dispute.amount_withdrawn, currency)],
      ["Given back", money(dispute.amount_reinstated, currency)],
      ["Provider", named(dispute.provider)],
      ["Opened", time(dispute.created_at, { isFull: true })],
      ["Evidence handed over", dispute.evidence_submitted_at ? time(dispute.evidence_submitted_at, { isFull: true }) : null],
      ["Closed", dispute.closed_at ? time(dispute.closed_at, { isFull: true }) : null],
      ["Provider's id", h("code", null, dispute.provider_dispute_id)],
    ]),
  ];
}

function drawnActions(/** @type {any} */ dispute) {
  const kept = Object.entries(dispute.evidence);
  if (dispute.actions.length === 0 && kept.length === 0) {
    return empty("Nothing yet", "Gather the evidence first, then hand all of it over at once.");
  }
  return [
    h(
      "ol",
      { class: "plain-list" },
      dispute.actions.map((/** @type {any} */ each) =>
        h("li", null, h("strong", null, words(each.kind)), " ", badge(each.status), " ", time(each.created_at), each.error_message ? h("div", { class: "quiet" }, each.error_message) : null),
      ),
    ),
    kept.length ? [h("h3", null, "Evidence that the provider has"), facts(kept.map(([name, text]) => [words(name), text]))] : null,
  ];
}

/** @param {any} dispute */
function evidenceForm(dispute) {
  const act = newAct();
  const fields = [...USUAL, ...[...LONG, ...LINES, ...FILES].filter((name) => !USUAL.includes(name))].map((name) => evidenceField(name, dispute.evidence[name]));
  const submit = field("Hand all of it to the customer's bank now", input({ type: "checkbox", name: "submit" }), {
    hint: "Once only: nothing can be added afterwards. Without this it is only kept at the provider.",
  });
  const form = formOf({
    fields: [...fields, submit],
    submit: "Send evidence",
    onSubmit: async (values) => {
      const { submit: isFinal, ...given } = values;
      const evidence = Object.fromEntries(Object.entries(given).filter(([, text]) => text !== ""));
      const done = await api.post(`/disputes/${dispute.id}/evidence`, { evidence, submit: isFinal }, { act, waitS: WAIT_S });
      toast(isFinal ? "The evidence goes to the customer's bank." : "The evidence is kept at the provider.", { tone: done.status === "failed" ? "bad" : "good" });
      invalidate(["disputes"]);
    },
  });
  const more = h("details", { class: "more-evidence" }, h("summary", null, "More kinds of evidence, and files"), h("div", { class: "form" }, fields.slice(USUAL.length).map((each) => each.node)));
  fields[USUAL.length - 1].node.after(more);
  // What is wrong in it must be seen.
  more.addEventListener("invalid", () => more.setAttribute("open", ""), { capture: true });
  return panel("Answer with evidence", form);
}

/** @param {string} name @param {string | undefined} value */
function evidenceField(name, value) {
  const label = words(name);
  if (LONG.includes(name)) {
    return field(label, textarea({ name, value, maxlength: LONGEST_TEXT }));
  }
  if (FILES.includes(name)) {
    return field(label, input({ name, value, pattern: "file_[A-Za-z0-9]{1,90}", placeholder: "file_…" }), { hint: "The id of a file at the provider." });
  }
  return field(label, input({ name, value, maxlength: LONGEST_LINE }));
}

/** @param {any} dispute */
async function askAccept(dispute) {
  const act = newAct();
  const taken = money(dispute.amount, dispute.currency);
  await confirm({
    title: "Accept this dispute?",
    consequences: [
      h("p", null, "The customer keeps ", h("strong", null, taken), ", and what the provider kept for the dispute stays gone."),
      h("p", null, "No evidence can be given any more. This cannot be taken back."),
    ],
    submit: "Accept and lose it",
    tone: "danger",
    act: async () => {
      await api.post(`/disputes/${dispute.id}/accept`, {}, { act, waitS: WAIT_S });
      toast("The dispute is given up.", { tone: "good" });
      invalidate(["disputes"]);
      invalidate(["payments"]);
    },
  });
  refocus();
}
