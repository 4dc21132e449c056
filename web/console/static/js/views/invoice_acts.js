/** What can be done about an invoice besides paying it: who may, when, and what it means. */

import { api, newAct } from "../api.js";
import { h } from "../dom.js";
import { money } from "../format.js";
import { invalidate } from "../query.js";
import { navigate } from "../router.js";
import { can } from "../session.js";
import { confirm } from "../ui/dialog.js";
import { field, input } from "../ui/forms.js";
import { toast } from "../ui/toasts.js";
import { button, refocus } from "./parts.js";
import { copyLink } from "./portal_links.js";

/**
 * @typedef {object} Act
 * @property {string} icon
 * @property {string} text
 * @property {(invoice: any) => boolean} isOffered
 * @property {(invoice: any) => Promise<any>} ask
 */

/** @type {Act[]} */
const ACTS = [
  {
    icon: "check",
    text: "Finalize",
    isOffered: (invoice) => can("invoices:write") && isOurDraft(invoice),
    ask: (invoice) =>
      askFor(invoice, {
        title: "Finalize this draft?",
        told: "It gets the next number and can be paid. Nothing of it changes any more.",
        verb: "finalize",
        submit: "Finalize",
        done: "The invoice is issued.",
      }),
  },
  {
    icon: "close",
    text: "Delete draft",
    isOffered: (invoice) => can("invoices:write") && isOurDraft(invoice),
    ask: askDelete,
  },
  {
    icon: "refund",
    text: "Credit note",
    isOffered: (invoice) => can("operations") && invoice.status === "open",
    ask: askCredit,
  },
  {
    icon: "out",
    text: "Mark uncollectible",
    isOffered: (invoice) => can("operations") && invoice.status === "open",
    ask: (invoice) =>
      askFor(invoice, {
        title: `Give ${invoice.number} up?`,
        told: "What is due of it becomes a bad debt, and nothing is tried any more. A bank transfer may still pay it.",
        verb: "mark-uncollectible",
        submit: "Give up",
        done: "The invoice is uncollectible.",
        tone: "danger",
      }),
  },
  {
    icon: "close",
    text: "Void",
    isOffered: (invoice) => can("operations") && !Number(invoice.amount_paid) && canBeVoid(invoice),
    ask: (invoice) =>
      askFor(invoice, {
        title: `Make ${invoice.number} void?`,
        told: "It was a mistake: nothing of it is owed any more. Its number stays taken. This cannot be undone.",
        verb: "void",
        submit: "Make void",
        done: "The invoice is void.",
        tone: "danger",
      }),
  },
  {
    icon: "external",
    text: "Copy payment link",
    isOffered: (invoice) => can("payments:write") && invoice.status === "open",
    ask: (invoice) =>
      copyLink(`/invoices/${invoice.id}/payment-link`, {
        title: `Link to pay ${invoice.number}`,
        told: "Whoever has it sees this invoice and can pay it, without a login, and nothing else.",
      }),
  },
  {
    icon: "invoice",
    text: "PDF",
    isOffered: (invoice) => invoice.status !== "draft",
    ask: (invoice) => save(`/invoices/${invoice.id}/pdf`, invoice.number),
  },
];

/**
 * Of what is paid only that can be void of which nothing was to be paid.
 *
 * @param {any} invoice
 */
function canBeVoid(invoice) {
  return ["open", "uncollectible"].includes(invoice.status) || (invoice.status === "paid" && !Number(invoice.amount));
}

/** What a subscription bills only an operator changes. */
function isOurDraft(/** @type {any} */ invoice) {
  return invoice.status === "draft" && (invoice.subscription_id === null || can("operations"));
}

/** Return the buttons of an invoice. They stay the same ones, so that the focus comes back to them. */
export function invoiceActs() {
  /** @type {any} */
  let invoice = null;
  const buttons = ACTS.map((act) => {
    const node = button(act.icon, act.text, async () => {
      await act.ask(invoice);
      refocus();
    });
    node.hidden = true;
    return node;
  });
  return {
    buttons,
    show(/** @type {any} */ current) {
      invoice = current;
      ACTS.forEach((act, number) => {
        buttons[number].hidden = !act.isOffered(current);
      });
    },
  };
}

/**
 * Have a document saved by the browser, under its number.
 *
 * @param {string} path
 * @param {string} number
 */
export async function save(path, number) {
  const url = URL.createObjectURL(await api.file(path));
  h("a", { href: url, download: `${number}.pdf` }).click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function readAnew() {
  for (const noun of ["invoices", "payments", "credit-notes", "overview"]) {
    invalidate([noun]);
  }
}

/**
 * Ask before what takes no more than a yes.
 *
 * @param {any} invoice
 * @param {{title: string, told: string, verb: string, submit: string, done: string, tone?: string}} what
 */
async function askFor(invoice, { title, told, verb, submit, done, tone }) {
  const act = newAct();
  await confirm({
    title,
    consequences: h("p", null, told),
    submit,
    tone,
    act: async () => {
      try {
        await api.post(`/invoices/${invoice.id}/${verb}`, {}, { act });
        toast(done, { tone: "good" });
      } finally {
        readAnew();
      }
    },
  });
}

/** @param {any} invoice */
async function askDelete(invoice) {
  const isDone = await confirm({
    title: "Delete this draft?",
    consequences: h("p", null, "Nothing is left of it. It had no number yet, so none is missing."),
    submit: "Delete",
    tone: "danger",
    act: async () => {
      await api.delete(`/invoices/${invoice.id}`);
      toast("The draft is deleted.", { tone: "good" });
    },
  });
  if (isDone) {
    navigate("/invoices");
    invalidate(["invoices", "list"]);
  }
}

/** @param {any} invoice */
async function askCredit(invoice) {
  const act = newAct();
  const { currency, amount_due: due } = invoice;
  await confirm({
    title: `Issue a credit note for ${invoice.number}?`,
    consequences: h("p", null, "That much of it is due no more, taxes and all. What was paid goes back by a refund instead, which has a credit note of its own."),
    fields: [
      field("Amount", input({ name: "amount", inputmode: "decimal", required: true, value: String(due) }), { hint: `At most the ${money(due, currency)} that is due, in ${currency}.` }),
      field("Why", input({ name: "reason", required: true, maxlength: 500 }), { hint: "It stands on the credit note." }),
    ],
    submit: "Issue",
    act: async (values) => {
      try {
        const made = await api.post(`/invoices/${invoice.id}/credit-notes`, values, { act });
        toast(`${made.number} is issued.`, { tone: "good" });
      } finally {
        readAnew();
      }
    },
  });
}
