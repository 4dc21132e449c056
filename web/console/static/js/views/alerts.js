/** Alerts: what somebody must see, and how it was seen to. */

import { api } from "../api.js";
import { h } from "../dom.js";
import { time, words } from "../format.js";
import { invalidate } from "../query.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, textarea } from "../ui/forms.js";
import { empty } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./operations.js";
import { button, heading, listing, refocus } from "./parts.js";
import { aboutOf } from "./words.js";

/** @param {import("../router.js").Context} context @param {string} path @param {boolean} mayResolve */
function alertsOf(context, path, mayResolve) {
  return listing({
    context,
    key: ["alerts"],
    path,
    filters: [
      { name: "is_resolved", label: "State", options: [["false", "Open"], ["true", "Over"]] },
      { name: "severity", label: "Severity", options: [["critical", "Critical"], ["warning", "Warning"], ["info", "Notice"]] },
    ],
    table: {
      caption: "Alerts",
      columns: [
        { label: "What", isHeader: true, cell: what },
        { label: "Severity", cell: (each) => badge(each.severity) },
        { label: "State", cell: state },
        { label: "Raised", cell: (each) => time(each.created_at) },
        ...(mayResolve ? [{ label: "What to do", isHiddenLabel: true, cell: resolver }] : []),
      ],
      rowKey: (each) => each.id,
      empty: () => empty("No alerts", "Whatever somebody must see is told here, and to every open console."),
    },
  });
}

function what(/** @type {any} */ alert) {
  const to = aboutOf(alert);
  return [h("strong", null, words(alert.kind)), h("div", { class: "wrap" }, alert.message), to ? h("a", { href: to }, `See the ${alert.subject === "transaction" ? "payment" : alert.subject}`) : null];
}

function state(/** @type {any} */ alert) {
  return alert.is_resolved ? [badge("over", { text: "Over", tone: "good" }), h("div", { class: "quiet" }, alert.resolution)] : badge("open", { tone: "warn" });
}

function resolver(/** @type {any} */ alert) {
  if (alert.is_resolved) {
    return null;
  }
  return button("check", "Resolve", () => askResolve(alert), { "aria-label": `Resolve: ${alert.message}` });
}

async function askResolve(/** @type {any} */ alert) {
  await confirm({
    title: "Has this been seen to?",
    consequences: [h("p", null, alert.message), h("p", { class: "quiet" }, "What raised it raises it anew if it is so still.")],
    fields: [field("How it was seen to", textarea({ name: "note", required: true, maxlength: 2000 }), { hint: "Kept with your name." })],
    submit: "Resolve",
    act: async ({ note }) => {
      await api.post(`/operations/alerts/${alert.id}/resolve`, { note });
      toast("The alert is over.", { tone: "good" });
      for (const key of ["alerts", "overview", "reviews"]) {
        invalidate([key]);
      }
    },
  });
  refocus();
}

/** @type {import("../router.js").View} */
export const alerts = {
  path: "/alerts",
  title: "Alerts",
  nav: { label: "Alerts", icon: "alert" },
  needsCompany: true,
  permission: "payments:read",
  show(context) {
    const isOperator = can("operations");
    const list = alertsOf(context, isOperator ? "/operations/alerts" : "/alerts", isOperator);
    return { node: h("section", null, heading("Alerts"), list.form, list.rows), stop: list.stop };
  },
};

/** @type {import("../router.js").View} */
export const operatorsAlerts = {
  path: `${AT}/alerts`,
  title: "Alerts",
  permission: "operations",
  show(context) {
    const list = alertsOf(context, "/operations/alerts", true);
    return { node: frame(`${AT}/alerts`, list.form, list.rows), stop: list.stop };
  },
};
