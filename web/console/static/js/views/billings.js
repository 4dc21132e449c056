/** What all of a tenant's companies were billed and have paid, the largest first. */

import { h } from "../dom.js";
import { count, money } from "../format.js";
import { actFor } from "../session.js";
import { empty } from "../ui/states.js";
import { listing, panel } from "./parts.js";
import { rateText } from "./rates.js";
import { named } from "./words.js";

const COMPARED = ["INR", "USD", "EUR", "GBP", "JPY"];

/** @param {import("../router.js").Context} context */
export function billingsPanel(context) {
  const list = listing({
    context,
    key: ["companies", "summary"],
    path: "/companies/summary",
    filters: [{ name: "currency", label: "Compared in", options: COMPARED }],
    table: {
      caption: "Billed and paid",
      columns: [
        { label: "Company", isHeader: true, cell: nameOf },
        { label: "Currency", cell: (each) => each.currency },
        { label: "Invoices", isNumber: true, cell: (each) => count(each.invoice_count) },
        { label: "Billed", isNumber: true, cell: (each) => money(each.total_billed, each.currency) },
        { label: "Paid", isNumber: true, cell: (each) => money(each.total_paid, each.currency) },
        { label: "Billed, compared", isNumber: true, cell: comparedOf },
      ],
      rowKey: (each) => `${each.company_id} ${each.currency}`,
      empty: () => empty("No companies yet", "Each is summed here by currency once it is billed."),
    },
  });
  return { node: panel("What they were billed", list.form, list.rows), stop: list.stop };
}

function nameOf(/** @type {any} */ row) {
  return h("button", { type: "button", class: "plain", onClick: () => actFor({ id: row.company_id, name: row.name }) }, row.name);
}

function comparedOf(/** @type {any} */ { compared }) {
  if (compared.missing) {
    return h("span", { class: "quiet" }, compared.missing === "stale_rate" ? "rate too old" : "no rate");
  }
  const told = money(compared.total_billed, compared.currency);
  const by = compared.source ? `${rateText(compared.rate)} by ${named(compared.source)}${compared.is_stale ? ", an old rate" : ""}` : "its own currency";
  return h("span", { title: by }, told, compared.is_stale ? h("span", { class: "quiet" }, " old rate") : null);
}
