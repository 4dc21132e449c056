/** Reviews: payments and refunds of which nobody can tell what became, settled by hand. */

import { api, newAct } from "../api.js";
import { h } from "../dom.js";
import { money, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, input, select, textarea } from "../ui/forms.js";
import { empty } from "../ui/states.js";
import { table } from "../ui/table.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./operations.js";
import { button, refocus } from "./parts.js";
import { named } from "./words.js";

// A worker asks the provider before it believes what is said.
const WAIT_S = 20;
/** @type {Record<string, [string, string][]>} */
const OUTCOMES = {
  payment: [["succeeded", "It was paid"], ["failed", "It was not paid"], ["canceled", "Close it: it must not be paid any more"]],
  refund: [["succeeded", "It went back"], ["failed", "It did not go back"]],
};

/** @type {import("../router.js").View} */
export const reviews = {
  path: `${AT}/reviews`,
  title: "Reviews",
  permission: "operations",
  show() {
    const rows = table({
      caption: "Reviews",
      columns: [
        { label: "What", isHeader: true, cell: (each) => [words(each.kind), " of ", money(each.amount, each.currency)] },
        { label: "Status", cell: (each) => badge(each.status) },
        { label: "Why", cell: (each) => [each.why ?? "—", each.kind === "decline" ? h("div", { class: "quiet" }, each.how) : null] },
        { label: "Provider", cell: (each) => named(each.provider) },
        { label: "Payment", cell: (each) => h("a", { href: href(`/payments/${each.transaction_id}`) }, `…${each.transaction_id.slice(-8)}`) },
        { label: "Since", cell: (each) => time(each.since) },
        { label: "What to do", isHiddenLabel: true, cell: settler },
      ],
      rowKey: (each) => each.id,
      empty: () => empty("Nothing needs a review", "What neither our rows nor the provider can tell is listed here."),
    });
    const stop = watch(query(["reviews"], ({ signal }) => api.get("/operations/reviews", { signal })), (result) => rows.show(result));
    return { node: frame(`${AT}/reviews`, h("p", { class: "quiet lead" }, "Look at the provider's dashboard what became of each, and say it here. A worker asks the provider before it believes it."), rows.node), stop };
  },
};

function settler(/** @type {any} */ review) {
  if (!review.needs_review || review.kind === "decline") {
    return null;
  }
  return button("check", "Settle", () => askSettle(review), { "aria-label": `Settle the ${review.kind} of ${money(review.amount, review.currency)}` });
}

async function askSettle(/** @type {any} */ review) {
  const act = newAct();
  const { kind, id } = review;
  const idName = kind === "refund" ? "provider_refund_id" : "provider_transaction_id";
  const providerId = field(`${named(review.provider)}'s id of it`, input({ name: idName, value: review[idName] ?? "", maxlength: 100 }), {
    hint: "Needed where it succeeded; the dashboard shows it.",
  });
  await confirm({
    title: `What became of this ${kind}?`,
    consequences: h("p", null, h("strong", null, money(review.amount, review.currency)), ". The provider is asked first; if it says otherwise nothing is changed. The ledger and the customer go by what is said here."),
    fields: [
      field("Outcome", select({ name: "outcome" }, OUTCOMES[kind])),
      providerId,
      field("How it is known", textarea({ name: "note", required: true, maxlength: 2000 })),
    ],
    submit: "Settle",
    act: async ({ outcome, note, [idName]: seenId }) => {
      const body = { outcome, note, ...(seenId ? { [idName]: seenId } : {}) };
      await api.post(`/operations/${kind}s/${id}/settle`, body, { act, waitS: WAIT_S, headers: { "X-Company-Id": review.company_id } });
      toast("It is settled.", { tone: "good" });
      for (const key of ["reviews", "alerts", "payments", "overview"]) {
        invalidate([key]);
      }
    },
  });
  refocus();
}
