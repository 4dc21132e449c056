/** One invoice: its lines, what was paid of it, what is tried next, and a new payment of it. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { count, date, money, status, time } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href, link, navigate } from "../router.js";
import { can } from "../session.js";
import { confirm, stayingHere } from "../ui/dialog.js";
import { field, input, select } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { table } from "../ui/table.js";
import { toast } from "../ui/toasts.js";
import { ladderPanel } from "./dunning.js";
import { invoiceActs, save } from "./invoice_acts.js";
import { statusOf } from "./invoices.js";
import { button, facts, heading, panel, redrawn, refocus } from "./parts.js";
import { COLUMNS } from "./payments.js";
import { methodName } from "./words.js";

const WAIT_S = 10;

/** @type {import("../router.js").View} */
export default {
  path: "/invoices/:id",
  title: "Invoice",
  needsCompany: true,
  permission: "invoices:read",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const state = h("div");
    const lines = h("div");
    const details = h("div");
    const whole = h("div", { class: "columns" });
    const ladder = ladderPanel(context.signal);
    const payments = table({
      caption: "Payments",
      isCaptionShown: true,
      columns: COLUMNS,
      rowKey: (each) => each.id,
      rowHref: (each) => href(`/payments/${each.id}`),
      empty: () => empty("Not paid yet", "A payment begins here with a kept method, or by the API."),
    });
    let invoice = /** @type {any} */ (null);
    let dunning = /** @type {any} */ (null);
    const pay = button("card", "Pay with a kept method", () => askPay(invoice), { class: "primary", hidden: true });
    const record = button("company", "Record bank transfer", () => askTransfer(invoice), { hidden: true });
    const acts = invoiceActs();
    const notes = notesTable();
    const drawHead = redrawn(head, (/** @type {any} */ each) => [each.number ?? "Draft", " ", statusOf(each)]);
    const drawLines = redrawn(lines, drawnLines);
    const drawDetails = redrawn(details, drawnDetails);

    /** Which currency it is of, the invoice tells. */
    function tellLadder(/** @type {import("../query.js").Result<any> | null} */ result) {
      dunning = result ?? dunning;
      if (invoice && dunning) {
        ladder.show(dunning, invoice.currency);
      }
    }

    const stops = [
      watch(query(["invoices", id], ({ signal }) => api.get(`/invoices/${id}`, { signal })), (result) => {
        invoice = result.data;
        replace(state, invoice && !result.error ? null : shown(result, () => null));
        whole.hidden = !invoice;
        if (!invoice) {
          return;
        }
        const isOpen = invoice.status === "open";
        context.setTitle(invoice.number ?? "Draft");
        acts.show(invoice);
        pay.hidden = !isOpen || !can("payments:write");
        record.hidden = !can("operations") || !(isOpen || invoice.status === "uncollectible");
        drawHead(invoice);
        drawLines(invoice);
        drawDetails(invoice);
        tellLadder(null);
      }),
      watch(
        query(["payments", "list", { invoice_id: id }], ({ signal }) => api.get("/payments", { query: { invoice_id: id, limit: 100 }, signal })),
        (result) => payments.show(result),
      ),
      watch(
        query(["credit-notes", "list", { invoice_id: id }], ({ signal }) => api.get("/credit-notes", { query: { invoice_id: id, limit: 100 }, signal })),
        (result) => {
          notes.node.hidden = !result.data?.data.length;
          notes.show(result);
        },
      ),
      watch(query(["invoices", id, "dunning"], ({ signal }) => api.get(`/invoices/${id}/dunning`, { signal })), (result) =>
        tellLadder(result),
      ),
    ];
    replace(
      whole,
      h("div", { class: "stack" }, lines, payments.node, notes.node),
      h("div", { class: "stack" }, panel("Details", details), ladder.node),
    );
    const node = h("section", null, heading(head, [...acts.buttons, record, pay], { path: "/invoices", label: "Invoices" }), state, whole);
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

function notesTable() {
  return table({
    caption: "Credit notes",
    isCaptionShown: true,
    columns: [
      { label: "Number", isHeader: true, cell: (each) => each.number },
      { label: "Why", cell: (each) => each.reason },
      { label: "Amount", isNumber: true, cell: (each) => money(each.amount, each.currency) },
      { label: "Issued", cell: (each) => [time(each.issued_at), each.reversed_at ? ", taken back" : null] },
      { label: "PDF", isHiddenLabel: true, cell: (each) => button("invoice", "PDF", () => save(`/credit-notes/${each.id}/pdf`, each.number), { "aria-label": `PDF of ${each.number}` }) },
    ],
    rowKey: (each) => each.id,
    empty: () => empty("No credit notes"),
  });
}

function drawnLines(/** @type {any} */ invoice) {
  const { currency } = invoice;
  const discountOf = (/** @type {any} */ each) => (Number(each.discount_amount) ? money(`-${each.discount_amount}`, currency) : "");
  const taxesOf = (/** @type {any} */ each) => each.taxes.map((/** @type {any} */ tax) => `${tax.name} ${count(tax.percent)} %`).join(", ");
  const rows = table({
    caption: "Lines",
    isCaptionShown: true,
    columns: [
      { label: "What", isHeader: true, cell: (each) => each.description },
      { label: "Quantity", isNumber: true, cell: (each) => count(each.quantity) },
      { label: "Each", isNumber: true, cell: (each) => money(each.unit_amount, currency) },
      ...(Number(invoice.discount_amount) ? [{ label: "Discount", isNumber: true, cell: discountOf }] : []),
      ...(invoice.lines.some((/** @type {any} */ each) => each.taxes.length) ? [{ label: "Tax", isNumber: true, cell: taxesOf }] : []),
      { label: "Total", isNumber: true, cell: (each) => money(each.total, currency) },
    ],
    rowKey: (each) => JSON.stringify(each),
    empty: () => empty("No lines"),
  });
  rows.show(/** @type {any} */ ({ data: invoice.lines, error: null, isPrevious: false, isLoading: false }));
  return rows.node;
}

function drawnDetails(/** @type {any} */ invoice) {
  const { currency } = invoice;
  return facts([
    ["Amount", h("strong", null, money(invoice.amount, currency))],
    ["Of it taxes", Number(invoice.tax_amount) ? money(invoice.tax_amount, currency) : null],
    ["Paid", money(invoice.amount_paid, currency)],
    ["Credited", Number(invoice.amount_credited) ? money(invoice.amount_credited, currency) : null],
    ["Still due", h("strong", null, money(invoice.amount_due, currency))],
    ["Due on", invoice.due_on ? date(invoice.due_on) : null],
    ["Paid at", invoice.paid_at ? time(invoice.paid_at, { isFull: true }) : null],
    ["Issued", invoice.issued_at ? time(invoice.issued_at, { isFull: true }) : null],
    ["Memo", invoice.memo],
    ["Invoice id", h("code", null, invoice.id)],
  ]);
}

/** @param {any} invoice */
async function askPay(invoice) {
  const act = newAct();
  const { currency, amount_due: due } = invoice;
  const isHere = stayingHere();
  const methods = await api.get("/payment-methods", { query: { limit: 100 } });
  if (!isHere()) {
    return;
  }
  const method = field(
    "Charge",
    select(
      { name: "payment_method_id", required: true },
      methods.map((/** @type {any} */ each) => [each.id, `${methodName(each)}${each.is_default ? ", the default" : ""}${each.is_expired ? ", expired" : ""}`]),
    ),
    { hint: methods.length ? null : ["There is none. ", link("/payment-methods", "Payment methods")] },
  );
  const amount = field("Amount", input({ name: "amount", inputmode: "decimal", required: true, value: String(due), pattern: "[0-9]+([.][0-9]+)?" }), {
    hint: `At most the ${money(due, currency)} that is due, in ${currency}. Less pays a part.`,
  });
  let paid = /** @type {any} */ (null);
  await confirm({
    title: `Pay ${invoice.number}?`,
    consequences: h("p", null, "The method is charged at once, without the customer. If it is declined, the payment climbs the ladder by the company's policy."),
    fields: [method, amount],
    submit: "Charge",
    act: async (values) => {
      const body = { invoice_id: invoice.id, amount: values.amount, payment_method_id: values.payment_method_id, off_session: true };
      try {
        paid = await api.post("/payments/create-intent", body, { act, waitS: WAIT_S });
      } finally {
        invalidate(["payments"]);
        invalidate(["invoices"]);
      }
    },
  });
  if (paid) {
    toast(`Payment: ${status(paid.status).toLowerCase()}`, { tone: paid.status === "failed" ? "warn" : "good" });
    navigate(`/payments/${paid.transaction_id}`);
  }
  refocus();
}

/** @param {any} invoice */
async function askTransfer(invoice) {
  const act = newAct();
  const { currency, amount_due: due } = invoice;
  const today = new Date().toISOString().slice(0, "2026-12-31".length);
  await confirm({
    title: `Record a bank transfer for ${invoice.number}?`,
    consequences: h("p", null, "The money counts as received: no provider is asked. If it pays the invoice, what was scheduled is cleared."),
    fields: [
      field("Amount", input({ name: "amount", inputmode: "decimal", required: true, value: String(due) }), { hint: `At most ${money(due, currency)}, in ${currency}.` }),
      field("Reference", input({ name: "reference", required: true, maxlength: 140 }), { hint: "As the bank writes it; it counts once." }),
      field("Received on", input({ name: "received_on", type: "date", required: true, value: today })),
    ],
    submit: "Record",
    act: async (values) => {
      await api.post(`/invoices/${invoice.id}/bank-transfers`, { ...values, currency }, { act });
      toast("The transfer is recorded.", { tone: "good" });
      invalidate(["payments"]);
      invalidate(["invoices"]);
    },
  });
  refocus();
}
