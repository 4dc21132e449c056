/** Payment methods: what is charged, which one first, which have expired. */

import { api, newAct } from "../api.js";
import { h } from "../dom.js";
import { time } from "../format.js";
import { follow, invalidate, query } from "../query.js";
import { link } from "../router.js";
import { can } from "../session.js";
import { store } from "../store.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, select } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { empty } from "../ui/states.js";
import { table } from "../ui/table.js";
import { toast } from "../ui/toasts.js";
import { button, heading, refocus } from "./parts.js";
import { copyPortalLink, revokeLinks } from "./portal_links.js";
import { methodName } from "./words.js";

/** @type {[string, string][]} */
const STATUSES = [
  ["active", "Active"],
  ["pending", "Pending"],
  ["failed", "Refused"],
  ["removed", "Removed"],
];

/** @type {import("../router.js").View} */
export default {
  path: "/payment-methods",
  title: "Payment methods",
  nav: { label: "Payment methods", icon: "wallet" },
  needsCompany: true,
  permission: "methods:read",
  show(context) {
    const rows = table({
      caption: "Payment methods",
      columns: [
        { label: "Method", isHeader: true, cell: (each) => methodName(each) },
        { label: "State", cell: states },
        { label: "Expires", cell: (each) => expiry(each) },
        { label: "Kept since", cell: (each) => time(each.created_at) },
        { label: "What to do", isHiddenLabel: true, cell: acts },
      ],
      rowKey: (each) => each.id,
      empty: () =>
        status.control.value === "active"
          ? empty("No payment method is kept", "One is added where the customer enters it; the card's number goes to the provider and never comes here.", sandboxLink())
          : empty("There is none of this kind", "Choose another state."),
    });
    const results = follow((result) => rows.show(result));
    const status = field("State", select({ name: "status", value: context.query.get("status") ?? "active" }, STATUSES));
    const ask = () => {
      const asked = { status: status.control.value, limit: 100 };
      results.show(query(["payment-methods", asked], ({ signal }) => api.get("/payment-methods", { query: asked, signal })));
    };
    status.control.addEventListener("change", () => {
      context.setQuery({ status: status.control.value });
      ask();
    });
    ask();
    const node = h("section", null, heading("Payment methods", headActs()), h("div", { class: "filters" }, status.node), rows.node);
    return { node, stop: results.stop };
  },
};

/** Customers add theirs in the portal, by a link. */
function headActs() {
  const acts = can("methods:write") ? [button("external", "Copy portal link", copyPortalLink), button("close", "Revoke links", revokeLinks)] : [];
  return h("div", { class: "actions" }, sandboxLink(), acts);
}

/** On the sandbox one is added with a test token, in the panel for that. */
function sandboxLink() {
  return store.get().config?.sandbox && can("methods:write") ? link("/sandbox", [icon("plus"), "Add a test card"], { class: "button" }) : null;
}

function states(/** @type {any} */ method) {
  return [
    method.is_default ? [badge("default", { text: "Default", tone: "busy" }), " "] : null,
    method.is_expired ? [badge("expired", { text: "Expired", tone: "warn" }), " "] : null,
    method.is_default || method.is_expired ? null : badge(method.status),
    method.error ? h("div", { class: "quiet" }, method.error.message) : null,
    method.is_expired ? h("div", { class: "quiet" }, "It can still be charged; its network may have renewed it. Ask the customer for a new one.") : null,
  ];
}

function expiry(/** @type {any} */ method) {
  return method.exp_year ? `${String(method.exp_month).padStart(2, "0")}/${method.exp_year}` : "—";
}

function acts(/** @type {any} */ method) {
  if (method.status !== "active" || !can("methods:write")) {
    return null;
  }
  const name = methodName(method);
  return h(
    "div",
    { class: "actions" },
    method.is_default ? null : button("check", "Make default", () => makeDefault(method), { "aria-label": `Make ${name} the default` }),
    button("close", "Detach", () => askDetach(method), { "aria-label": `Detach ${name}` }),
  );
}

async function makeDefault(/** @type {any} */ method) {
  await api.post(`/payment-methods/${method.id}/default`);
  toast(`${methodName(method)} is the default now. What was given up with another one is tried again with it.`, { tone: "good" });
  invalidate(["payment-methods"]);
}

async function askDetach(/** @type {any} */ method) {
  const act = newAct();
  await confirm({
    title: `Detach ${methodName(method)}?`,
    consequences: h("p", null, "It is charged no more from now on, and the provider is told to forget it.", method.is_default ? " The newest one that has not expired is the default then." : ""),
    submit: "Detach",
    tone: "danger",
    act: async () => {
      await api.delete(`/payment-methods/${method.id}`, { headers: { "Idempotency-Key": act.keyFor(null) } });
      toast(`${methodName(method)} is detached.`, { tone: "good" });
      invalidate(["payment-methods"]);
    },
  });
  refocus();
}
