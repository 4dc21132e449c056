/** Breaks: where the provider's book and ours differ; both sides next to each other, and what can be done. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { money, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { session } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, textarea } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./operations.js";
import { again, button, facts, heading, listing, panel, redrawn, refocus } from "./parts.js";
import { named } from "./words.js";

const API = "/breaks";
const PATH = `${AT}/breaks`;
const BACK = { path: PATH, label: "Breaks" };
/** @type {Record<string, string>} */
const KINDS = {
  missing_locally: "Missing here",
  missing_at_provider: "Missing at the provider",
  amount: "Another amount",
  currency: "Another currency",
  status: "Another status",
  refund_missing_locally: "Refund missing here",
  refund_missing_at_provider: "Refund missing at the provider",
  refund_amount: "Refund of another amount",
  fee: "Another fee",
  duplicate_charge: "Charged twice",
  dispute: "Dispute not known here",
  orphan_method: "Payment method of nobody",
  orphan_customer: "Customer of nobody",
  wrong_company: "Of another company",
  payout_unbalanced: "Payout does not add up",
};
/** @type {Record<string, [string, string]>} */
const STATES = { open: ["Open", "warn"], repaired: ["Repaired", "good"], resolved: ["Resolved", "good"] };
/** @type {Record<string, string>} */
const RESOLUTIONS = { agreed: "A later run found that both sides say the same", repaired: "Repaired", accepted: "Accepted as it is" };

/**
 * Return a list of breaks.
 *
 * @param {import("../router.js").Context} context
 * @param {Record<string, any>} always what is asked with every filter
 * @param {string} caption
 */
export function breaksOf(context, always, caption) {
  return listing({
    context,
    key: ["breaks"],
    path: API,
    always,
    filters: [
      { name: "status", label: "Status", options: Object.entries(STATES).map(([each, [text]]) => [each, text]) },
      { name: "kind", label: "What", options: Object.entries(KINDS) },
      { name: "provider", label: "Provider", options: [["stripe", "Stripe"], ["paypal", "PayPal"]] },
    ],
    table: {
      caption,
      columns: [
        { label: "What", isHeader: true, cell: (each) => kindText(each) },
        { label: "Status", cell: state },
        { label: "Provider's id", cell: (each) => idOf(each) },
        { label: "Differs", cell: (each) => h("span", { class: "wrap" }, differing(each).map(words).join(", ") || "—") },
        { label: "Whose", cell: (each) => ownerText(each) },
        { label: "First seen", cell: (each) => time(each.first_seen) },
      ],
      rowKey: (each) => each.id,
      rowHref: (each) => href(`${PATH}/${each.id}`),
      empty: () => empty("No breaks", "Where a run finds that the provider's book and ours differ, it is listed here."),
    },
  });
}

/** @type {import("../router.js").View} */
export const breaks = {
  path: PATH,
  title: "Breaks",
  permission: "operations",
  show(context) {
    invalidate(["breaks"]);
    const list = breaksOf(context, {}, "Breaks");
    return { node: frame(PATH, list.form, list.rows), stop: list.stop };
  },
};

/** @type {import("../router.js").View} */
export const oneBreak = {
  path: `${PATH}/:id`,
  title: "Break",
  permission: "operations",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const acts = h("span", { class: "actions" });
    const told = h("div");
    const body = h("div", { class: "stack" });
    const draw = redrawn(body, drawnBreak);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [kindText(one), " ", state(one)]);
    const drawActs = redrawn(acts, ({ one, isWaiting }) => actsOf(one, isWaiting, repair));
    const waiting = again(["breaks", id]);
    let isWaiting = false;
    // A worker may have changed it since it was looked at.
    invalidate(["breaks", id]);
    const asked = query(["breaks", id], ({ signal }) => api.get(`${API}/${id}`, { signal }));
    const stop = watch(asked, show);

    async function repair() {
      await api.post(`${API}/${id}/repair`);
      isWaiting = true;
      waiting.set(true);
      invalidate(["breaks"]);
      show(asked.get());
      refocus();
    }

    function show(/** @type {import("../query.js").Result<any>} */ result) {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      // What is stale may be from before the repair was asked for, with what went wrong before.
      if (isWaiting && !result.isStale && !mayBeUnderRepair(result.data)) {
        isWaiting = false;
        waiting.set(false);
        invalidate(["breaks", "list"]);
      }
      if (result.data) {
        context.setTitle(kindText(result.data));
        drawHead(result.data);
        drawActs({ one: result.data, isWaiting });
        draw(isWaiting ? { ...result.data, repair_error: null } : result.data);
      }
    }

    return {
      node: h("section", null, heading(head, acts, BACK), told, body),
      stop() {
        waiting.set(false);
        stop();
      },
    };
  },
};

/** Whether a repair that was asked for has neither mended a break nor said why it could not. */
function mayBeUnderRepair(/** @type {any} */ one) {
  return one.status === "open" && one.is_repairable && !one.repair_error;
}

function kindText(/** @type {any} */ { kind }) {
  return KINDS[kind] ?? words(kind);
}

function state(/** @type {any} */ { status }) {
  const [text, tone] = STATES[status] ?? [words(status), "calm"];
  return badge(status, { text, tone });
}

function idOf(/** @type {any} */ { object_id: id }) {
  return id ? h("code", { class: "wrap" }, id) : "—";
}

function ownerText(/** @type {any} */ { owner_id: owner }) {
  if (!owner) {
    return h("span", { class: "quiet" }, "Nobody's");
  }
  return owner === session().user?.id ? "Mine" : "Somebody's";
}

/** Return the fields of both sides, in the order in which ours names them. */
function fieldsOf(/** @type {any} */ { ours, theirs }) {
  return [...new Set([...Object.keys(ours ?? {}), ...Object.keys(theirs ?? {})])];
}

/** Return which fields differ; none where a whole side is missing. */
function differing(/** @type {any} */ each) {
  const { ours, theirs } = each;
  if (!ours || !theirs) {
    return [];
  }
  return fieldsOf(each).filter((name) => name in ours && name in theirs && said(ours[name]) !== said(theirs[name]));
}

function said(/** @type {any} */ value) {
  if (value === null || value === undefined) {
    return "";
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function drawnBreak(/** @type {any} */ one) {
  return [
    one.repair_error ? h("p", { class: "told bad" }, icon("alert"), h("span", { class: "wrap" }, `The repair has failed: ${one.repair_error}`)) : null,
    panel("Both sides", sides(one)),
    panel(
      "Details",
      facts([
        ["Provider", named(one.provider)],
        ["Provider's id", one.object_id ? idOf(one) : null],
        ["Payment", one.transaction_id ? h("a", { href: href(`/payments/${one.transaction_id}`) }, "See the payment") : null],
        ["Whose", ownerText(one)],
        ["First seen", time(one.first_seen, { isFull: true })],
        ["Last seen", time(one.last_seen, { isFull: true })],
        ["Run", one.run_id ? h("a", { href: href(`${AT}/reconciliations/${one.run_id}`) }, "See the run") : null],
        ["About", words(one.subject)],
        ["Amount", one.amount === null ? null : money(one.amount, one.currency)],
        ["Happened", one.happened_at ? time(one.happened_at, { isFull: true }) : null],
        ["Over since", one.resolved_at ? time(one.resolved_at, { isFull: true }) : null],
        ["Why", one.resolution ? RESOLUTIONS[one.resolution] ?? words(one.resolution) : null],
        ["Note", one.note ? h("span", { class: "wrap" }, one.note) : null],
      ]),
    ),
  ];
}

/** Both sides next to each other; what differs is marked, in a word too. */
function sides(/** @type {any} */ one) {
  const { ours, theirs, provider } = one;
  const names = fieldsOf(one);
  const other = new Set(differing(one));
  const cell = (/** @type {any} */ side, /** @type {string} */ name, /** @type {string} */ label) => {
    const text = side ? said(side[name]) : "";
    return h("td", { dataset: { label } }, text ? h("span", { class: "wrap" }, text) : h("span", { class: "quiet" }, "—"));
  };
  return [
    ours ? null : h("p", { class: "told warn" }, icon("alert"), h("span", null, "We have nothing of this.")),
    theirs ? null : h("p", { class: "told warn" }, icon("alert"), h("span", null, `${named(provider)} has nothing of this.`)),
    h(
      "div",
      { class: "sides" },
      h(
        "table",
        null,
        h("caption", { class: "visually-hidden" }, "Both sides"),
        h("thead", null, h("tr", null, ["What", "Ours", `${named(provider)}'s`].map((each) => h("th", { scope: "col" }, each)))),
        h(
          "tbody",
          null,
          names.map((name) =>
            h(
              "tr",
              { class: other.has(name) ? "differs" : null },
              h("th", { scope: "row" }, words(name), other.has(name) ? [" ", h("span", { class: "badge warn" }, "differs")] : null),
              cell(ours, name, "Ours"),
              cell(theirs, name, `${named(provider)}'s`),
            ),
          ),
        ),
      ),
    ),
  ];
}

/**
 * What can be done with a break that is open.
 *
 * @param {any} one
 * @param {boolean} isWaiting for a worker to repair it
 * @param {() => Promise<void>} repair
 */
function actsOf(one, isWaiting, repair) {
  if (one.status !== "open") {
    return null;
  }
  if (isWaiting) {
    return h("p", { role: "status" }, h("progress", { "aria-label": "Repair" }), " It is being repaired.");
  }
  const me = session().user?.id;
  const isMine = one.owner_id === me;
  return [
    one.is_repairable ? button("check", "Repair", repair, { class: "primary" }) : null,
    button("people", isMine ? "Give it up" : "Take it", async () => {
      await api.post(`${API}/${one.id}/assign`, { user_id: isMine ? null : me });
      invalidate(["breaks"]);
      refocus();
    }),
    button("check", "Resolve…", () => askResolve(one)),
  ];
}

async function askResolve(/** @type {any} */ one) {
  const act = newAct();
  await confirm({
    title: "How was it seen to?",
    consequences: h("p", null, `${kindText(one)}. Nothing is changed here or at the provider; if it is so still, the next run tells it anew.`),
    fields: [field("Note", textarea({ name: "note", required: true, maxlength: 2000 }), { hint: "Kept with your name." })],
    submit: "Resolve",
    act: async ({ note }) => {
      await api.post(`${API}/${one.id}/resolve`, { note }, { act });
      toast("The break is resolved.", { tone: "good" });
      invalidate(["breaks"]);
    },
  });
  refocus();
}
