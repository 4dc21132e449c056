/** Imports: the book brought here from elsewhere, how far that is, and what was refused. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { count, dateTime, time } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, input } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./operations.js";
import { button, facts, heading, listing, panel, redrawn, refocus } from "./parts.js";

const API = "/imports";
const PATH = `${AT}/imports`;
/** @type {Record<string, string>} */
const KINDS = { stripe_customers: "Customers from Stripe", invoices_csv: "Invoices from a file" };
/** @type {Record<string, [string, string]>} */
const STATES = {
  running: ["Running", "busy"],
  done: ["Done", "good"],
  refused: ["Refused whole", "bad"],
  canceled: ["Cancelled", "calm"],
  failed: ["Failed", "bad"],
};

/** @type {import("../router.js").View} */
export const imports = {
  path: PATH,
  title: "Imports",
  permission: "operations",
  show(context) {
    const list = listing({
      context,
      key: ["imports"],
      path: API,
      filters: [],
      table: {
        caption: "Imports",
        columns: [
          { label: "What", isHeader: true, cell: (each) => KINDS[each.kind] },
          { label: "Status", cell: state },
          { label: "How far", cell: progress },
          { label: "New", isNumber: true, cell: (each) => count(each.counts.made) },
          { label: "Updated", isNumber: true, cell: (each) => count(each.counts.updated) },
          { label: "Skipped", isNumber: true, cell: (each) => count(each.counts.skipped) },
          { label: "Refused", isNumber: true, cell: (each) => count(each.counts.refused) },
          { label: "Begun", cell: (each) => time(each.created_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/${each.id}`),
        empty: () => empty("Nothing was imported yet", "Bring customers and their payment methods from Stripe, and invoices from a file. Try both dry first."),
      },
    });
    const acts = h(
      "p",
      { class: "actions" },
      button("plus", "Import customers", () => askCustomers(context), { class: "primary" }),
      button("plus", "Import invoices", () => askInvoices(context)),
      button("external", "Template", () => save(`${API}/template.csv`, "invoices.csv")),
    );
    return { node: frame(PATH, acts, list.rows), stop: list.stop };
  },
};

/** @type {import("../router.js").View} */
export const oneImport = {
  path: `${PATH}/:id`,
  title: "Import",
  permission: "operations",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const acts = h("span", { class: "actions" });
    const told = h("div");
    const details = h("div");
    const draw = redrawn(details, drawnDetails);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [KINDS[one.kind], " ", state(one)]);
    const drawActs = redrawn(acts, (/** @type {any} */ one) => actsOf(one, context));
    const list = listing({
      context,
      key: ["imports", id, "refusals"],
      path: `${API}/${id}/refusals`,
      filters: [],
      table: {
        caption: "What was refused",
        columns: [
          { label: "Where", isHeader: true, cell: (each) => (each.line === null ? each.subject : `Line ${each.line}`) },
          { label: "Invoice or customer", cell: (each) => each.subject ?? "—" },
          { label: "Column", cell: (each) => h("code", null, each.column) },
          { label: "Value", cell: (each) => h("span", { class: "wrap" }, each.value || "—") },
          { label: "Why", cell: (each) => h("span", { class: "wrap" }, each.reason) },
        ],
        rowKey: (each) => `${each.line} ${each.subject} ${each.column} ${each.reason}`,
        empty: () => empty("Nothing was refused", "Every line that cannot be taken is listed here with the reason."),
      },
    });
    const stop = watch(query(["imports", id], ({ signal }) => api.get(`${API}/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      if (result.data) {
        context.setTitle(KINDS[result.data.kind]);
        drawHead(result.data);
        drawActs(result.data);
        draw(result.data);
      }
    });
    const exported = button("external", "Save as a file", () => save(`${API}/${id}/refusals.csv`, `refused-${id}.csv`));
    const refused = panel("What was refused", h("p", null, exported), list.rows);
    const back = { path: PATH, label: "Imports" };
    const node = h("section", null, heading(head, acts, back), told, h("div", { class: "stack" }, panel("How far it is", details), refused));
    return {
      node,
      stop() {
        list.stop();
        stop();
      },
    };
  },
};

function state(/** @type {any} */ one) {
  const [text, tone] = STATES[one.status] ?? [one.status, "calm"];
  return [badge(one.status, { text: one.waiting_for && one.status === "running" ? "Waiting" : text, tone }), one.dry_run ? " Dry run" : null];
}

/** Return a bar where the end is known, else how many were seen. */
function progress(/** @type {any} */ one) {
  const text = one.total === null ? `${count(one.counts.seen)} seen` : `${count(one.counts.seen)} of ${count(one.total)}`;
  return one.total === null ? text : [h("progress", { max: one.total || 1, value: one.counts.seen, "aria-label": "How far it is" }), " ", text];
}

function drawnDetails(/** @type {any} */ one) {
  const { counts } = one;
  return [
    h("p", { role: "status" }, progress(one)),
    one.waiting_for ? h("p", null, one.waiting_for, one.waiting_until ? [" It goes on ", time(one.waiting_until), "."] : null) : null,
    one.error ? h("p", { class: "wrap" }, one.error) : null,
    facts([
      ["New", count(counts.made)],
      ["Updated", count(counts.updated)],
      ["Skipped", count(counts.skipped)],
      ["Refused", count(counts.refused)],
      ...(one.kind === "stripe_customers" ? methodFacts(counts) : []),
      ["Pages", count(one.pages)],
      ["If one is refused", one.refuse_all_if_any ? "nothing is imported" : "the others are imported"],
      ["Begun", dateTime(one.created_at)],
      ["Ended", one.finished_at ? dateTime(one.finished_at) : "—"],
    ]),
  ];
}

/** @returns {[string, string][]} */
function methodFacts(/** @type {any} */ counts) {
  return [
    ["Payment methods, new", count(counts.methods_made)],
    ["Payment methods, updated", count(counts.methods_updated)],
    ["Payment methods, skipped", count(counts.methods_skipped)],
  ];
}

function actsOf(/** @type {any} */ one, /** @type {import("../router.js").Context} */ context) {
  if (one.status === "running") {
    return button("close", "Cancel", async () => {
      await api.post(`${API}/${one.id}/cancel`);
      toast("It is cancelled. What was imported stays.");
      invalidate(["imports"]);
    });
  }
  if (one.dry_run && one.status === "done") {
    const asked = one.kind === "invoices_csv" ? { dry_run_id: one.id } : {};
    return button("plus", "Import it now", () => begin({ kind: one.kind, ...asked }, context), { class: "primary" });
  }
  return null;
}

function choices() {
  return [
    field("Dry run", input({ type: "checkbox", name: "dry_run", checked: true }), { hint: "Everything is checked and told, and nothing is changed." }),
    field("All or nothing", input({ type: "checkbox", name: "refuse_all_if_any" }), { hint: "Nothing is imported as soon as one thing is refused." }),
  ];
}

/** @param {Record<string, any>} values */
function chosen(values) {
  return { dry_run: Boolean(values.dry_run), refuse_all_if_any: Boolean(values.refuse_all_if_any) };
}

async function askCustomers(/** @type {import("../router.js").Context} */ context) {
  const act = newAct();
  const isDone = await confirm({
    title: "Import customers from Stripe",
    consequences: h("p", null, "Each customer becomes a company with its payment methods. Nothing is charged or changed at Stripe."),
    fields: choices(),
    submit: "Begin",
    act: (values) => begin({ kind: "stripe_customers", ...chosen(values) }, context, act),
  });
  if (!isDone) {
    refocus();
  }
}

async function askInvoices(/** @type {import("../router.js").Context} */ context) {
  const act = newAct();
  const file = /** @type {HTMLInputElement} */ (input({ type: "file", name: "file", accept: ".csv,text/csv", required: true }));
  const isDone = await confirm({
    title: "Import invoices from a file",
    consequences: h("p", null, "CSV in UTF-8 with the columns of the template, at most 5 MB and 20,000 lines. Nobody is sent a mail."),
    fields: [field("File", file), ...choices()],
    submit: "Begin",
    act: async (values) => {
      const sent = await api.post(`${API}/files`, file.files?.[0], { query: { name: file.files?.[0]?.name } });
      await begin({ kind: "invoices_csv", file_id: sent.id, ...chosen(values) }, context, act);
    },
  });
  if (!isDone) {
    refocus();
  }
}

/**
 * @param {Record<string, any>} asked
 * @param {import("../router.js").Context} context
 * @param {import("../api.js").Act} [act]
 */
async function begin(asked, context, act) {
  const made = await api.post(API, asked, { act });
  invalidate(["imports"]);
  context.navigate(`${PATH}/${made.id}`);
}

/** @param {string} path @param {string} name */
async function save(path, name) {
  const url = URL.createObjectURL(await api.file(path));
  h("a", { href: url, download: name }).click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
