/** Payouts: what a provider sent to the bank, and of what each is made up. */

import { api } from "../api.js";
import { saveBlob } from "../charts/csv.js";
import { h, replace } from "../dom.js";
import { count, date, money, time, words } from "../format.js";
import { query, watch } from "../query.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { AT, frame } from "./operations.js";
import { button, facts, heading, listing, panel, redrawn } from "./parts.js";
import { named } from "./words.js";

const API = "/payouts";
const PATH = `${AT}/payouts`;
const BACK = { path: PATH, label: "Payouts" };

/** @type {import("../router.js").View} */
export const payouts = {
  path: PATH,
  title: "Payouts",
  permission: "operations",
  show(context) {
    const list = listing({
      context,
      key: ["payouts"],
      path: API,
      filters: [],
      table: {
        caption: "Payouts",
        columns: [
          { label: "At the bank", isHeader: true, cell: (each) => (each.arrival_date ? date(each.arrival_date) : "—") },
          { label: "Amount", isNumber: true, cell: (each) => money(each.amount, each.currency) },
          { label: "Status", cell: (each) => badge(each.status) },
          { label: "Adds up", cell: balance },
          { label: "Provider", cell: (each) => named(each.provider) },
          { label: "Provider's id", cell: (each) => h("code", { class: "wrap" }, each.provider_payout_id) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/${each.id}`),
        empty: () => empty("No payouts yet", "What a provider sends to the bank is fetched every day, with all that it is made up of."),
      },
    });
    return { node: frame(PATH, list.rows), stop: list.stop };
  },
};

/** @type {import("../router.js").View} */
export const payout = {
  path: `${PATH}/:id`,
  title: "Payout",
  permission: "operations",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const told = h("div");
    const body = h("div", { class: "stack" });
    const draw = redrawn(body, drawnPayout);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [h("span", { class: "figure" }, money(one.amount, one.currency)), " ", badge(one.status)]);
    const stop = watch(query(["payouts", id], ({ signal }) => api.get(`${API}/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      if (result.data) {
        context.setTitle(`Payout of ${money(result.data.amount, result.data.currency)}`);
        drawHead(result.data);
        draw(result.data);
      }
    });
    const file = button("download", "Save its report as CSV", async () => saveBlob(await api.file(`${API}/${id}.csv`), `payout-${id}.csv`));
    return { node: h("section", null, heading(head, file, BACK), told, body), stop };
  },
};

function balance(/** @type {any} */ { is_balanced: isBalanced }) {
  if (isBalanced === null || isBalanced === undefined) {
    return badge("unknown", { text: "Not known yet", tone: "calm" });
  }
  return isBalanced ? badge("balanced", { text: "Yes", tone: "good" }) : badge("unbalanced", { text: "No", tone: "bad" });
}

function drawnPayout(/** @type {any} */ one) {
  return [
    one.is_balanced === false ? h("p", { class: "told bad" }, icon("alert"), h("span", null, "What it is made up of does not come to what was paid out. A break tells by how much.")) : null,
    panel(
      "Details",
      facts([
        ["Provider", named(one.provider)],
        ["Provider's id", h("code", { class: "wrap" }, one.provider_payout_id)],
        ["At the bank", one.arrival_date ? date(one.arrival_date) : "—"],
        ["Adds up", balance(one)],
        ["Fetched", time(one.created_at, { isFull: true })],
      ]),
    ),
    panel("What it is made up of", partsOf(one)),
  ];
}

function partsOf(/** @type {any} */ { parts = [], currency }) {
  if (parts.length === 0) {
    return empty("Not known yet", "It is fetched from the provider with the next run.");
  }
  const cell = (/** @type {string} */ amount) => h("td", { class: "number" }, money(amount, currency));
  return h(
    "div",
    { class: "chart-list is-long", tabindex: "0", role: "region", "aria-label": "What it is made up of" },
    h(
      "table",
      null,
      h("caption", { class: "visually-hidden" }, "What it is made up of"),
      h("thead", null, h("tr", null, ["Type", "Number", "Gross", "Fees", "Net"].map((each, n) => h("th", { scope: "col", class: n > 0 ? "number" : null }, each)))),
      h("tbody", null, parts.map((/** @type {any} */ each) => h("tr", null, h("th", { scope: "row" }, words(each.type)), h("td", { class: "number" }, count(each.count)), cell(each.gross), cell(each.fee), cell(each.net)))),
    ),
  );
}
