/** Endpoints: the addresses of one's own systems that are told what happens. */

import { api, newAct } from "../api.js";
import { h } from "../dom.js";
import { count, time } from "../format.js";
import { invalidate } from "../query.js";
import { href } from "../router.js";
import { can, session } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm, openDialog } from "../ui/dialog.js";
import { field, input } from "../ui/forms.js";
import { empty } from "../ui/states.js";
import { button, heading, listing, refocus } from "./parts.js";

export const PATH = "/endpoints";
/** @type {[string, string][]} */
const STATUSES = [
  ["enabled", "Enabled"],
  ["disabled", "Disabled"],
];
const LONGEST_URL = 2000;
const LONGEST_TEXT = 500;

/** @type {import("../router.js").View} */
export const endpoints = {
  path: PATH,
  title: "Endpoints",
  nav: { label: "Endpoints", icon: "external" },
  needsCompany: true,
  permission: "endpoints:read",
  show(context) {
    const list = listing({
      context,
      key: ["endpoints"],
      path: PATH,
      filters: [{ name: "status", label: "Status", options: STATUSES }],
      table: {
        caption: "Endpoints",
        columns: [
          { label: "Address", isHeader: true, cell: (each) => h("span", { class: "wrap" }, each.url) },
          { label: "Status", cell: state },
          { label: "Events", cell: (each) => h("code", { class: "wrap" }, each.events.join(", ")) },
          { label: "Hears", cell: (each) => (each.company_id ? "This company" : "All companies") },
          { label: "Added", cell: (each) => time(each.created_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No endpoint fits", "Choose another status.")
            : empty("No endpoints yet", "Add an address of your own system, and it is told of payments, invoices and alerts, signed."),
      },
    });
    const add = can("endpoints:write") ? button("plus", "Add an endpoint", () => askAdd(context), { class: "primary" }) : null;
    return { node: h("section", null, heading("Endpoints", add), list.form, list.rows), stop: list.stop };
  },
};

/** Return how an endpoint does: also one that is sent to may do nothing but fail. */
export function state(/** @type {any} */ endpoint) {
  const isFailing = endpoint.status === "enabled" && endpoint.failing_since;
  return isFailing ? badge("failing", { text: `Failing, ${count(endpoint.failures)} times`, tone: "bad" }) : badge(endpoint.status);
}

/** Return the fields of an endpoint, of one that is there or of a new one. */
export function fieldsOf(/** @type {any} */ endpoint = null) {
  return [
    field("Address", input({ name: "url", type: "url", required: true, maxlength: LONGEST_URL, value: endpoint?.url }), {
      hint: "Where your system listens, whole and with https.",
    }),
    field("Events", input({ name: "events", required: true, value: endpoint?.events.join(", ") ?? "*" }), {
      hint: "All with *, a family with payment.*, one with invoice.paid; several with commas.",
    }),
    field("Description", input({ name: "description", maxlength: LONGEST_TEXT, value: endpoint?.description })),
  ];
}

/** Return what the API takes of what was typed. */
export function typed(/** @type {Record<string, any>} */ { url, events, description, all_companies: isForAll }) {
  const names = String(events).split(/[\s,]+/).filter(Boolean);
  return { url, events: names, description, ...(isForAll ? { all_companies: true } : {}) };
}

async function askAdd(/** @type {import("../router.js").Context} */ context) {
  const act = newAct();
  const isOperator = session().user?.role === "operator";
  const forAll = field("All companies", input({ type: "checkbox", name: "all_companies" }), { hint: "It hears every company of yours, and only operators see it." });
  /** @type {any} */
  let made = null;
  await confirm({
    title: "Add an endpoint",
    consequences: h("p", null, "From now on it is told what happens, signed as Standard Webhooks says."),
    fields: [...fieldsOf(), ...(isOperator ? [forAll] : [])],
    submit: "Add",
    act: async (values) => {
      made = await api.post(PATH, typed(values), { act });
    },
  });
  if (made) {
    invalidate(["endpoints"]);
    await tellSecret(made.secret);
    context.navigate(`${PATH}/${made.id}`);
  }
}

/** Show a secret, which nobody is shown again. */
export async function tellSecret(/** @type {string | null} */ secret) {
  const { closed } = openDialog("The secret, shown this once", (close) => [
    secret
      ? h("pre", { class: "error-text secret", tabindex: "0" }, secret)
      : h("p", null, "It was made, but the answer that held it was lost. Rotate it to have another."),
    h("p", null, "Your system checks the signatures with it. Keep it where you keep passwords."),
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onClick: close }, "I have kept it")),
  ]);
  await closed;
  refocus();
}
