/** Modules: what is sold, and what of it the company has. */

import { api } from "../api.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import { invalidate } from "../query.js";
import { href } from "../router.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, input, textarea } from "../ui/forms.js";
import { empty } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { button, heading, listing, refocus } from "./parts.js";

export const PATH = "/modules";
/** @type {[string, string][]} */
const SOLD = [
  ["true", "Sold"],
  ["false", "No longer sold"],
];
/** @type {[string, string][]} */
export const LIMITS = [
  ["warning_at", "Warning at"],
  ["critical_at", "Critical at"],
  ["hard_limit", "Hard limit"],
];

/** @type {import("../router.js").View} */
export const modules = {
  path: PATH,
  title: "Modules",
  nav: { label: "Modules", icon: "bolt" },
  needsCompany: true,
  permission: "modules:read",
  show(context) {
    const list = listing({
      context,
      key: ["modules"],
      path: PATH,
      filters: [{ name: "is_active", label: "Sold", options: SOLD }],
      table: {
        caption: "Modules",
        columns: [
          { label: "Module", isHeader: true, cell: (each) => [each.name, h("div", { class: "quiet" }, each.description)] },
          { label: "Code", cell: (each) => h("code", null, each.code) },
          { label: "Company", cell: state },
          { label: "Counted in", cell: (each) => each.unit ?? "—" },
          { label: "Hard limit", isNumber: true, cell: (each) => limitText((each.taken ?? each).limits.hard_limit) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No module fits", "Choose another state.")
            : empty("No modules yet", "What is sold by its name, alone or with a plan, is shown here once an operator has added it."),
      },
    });
    const add = can("catalogue:write") ? button("plus", "Add a module", askAdd, { class: "primary" }) : null;
    return { node: h("section", null, heading("Modules", add), list.form, list.rows), stop: list.stop };
  },
};

/** Return whether the company has a module, and whether others can still get it. */
export function state(/** @type {any} */ module) {
  if (module.taken) {
    return badge("active", { text: module.taken.subscription_id ? "With its plan" : "Subscribed", tone: "good" });
  }
  return module.is_active ? badge("open", { text: "Not subscribed", tone: "calm" }) : badge("expired", { text: "No longer sold" });
}

/** Return a limit in words. */
export function limitText(/** @type {number | null} */ limit) {
  return limit === null ? "None" : count(limit);
}

/** Return fields for limits, of those that hold now. */
export function limitFields(/** @type {Record<string, number | null>} */ limits, /** @type {[string, string][]} */ which = LIMITS) {
  return which.map(([name, label]) =>
    field(label, input({ name, type: "number", min: 1, step: 1, inputmode: "numeric", value: limits[name] ?? "" }), {
      hint: name === "hard_limit" ? "Use beyond it is refused. Empty: none." : "Told once a period. Empty: as the module says.",
    }),
  );
}

/** Return what the API takes of limits that were typed. */
export function limitsOf(/** @type {Record<string, any>} */ values) {
  const given = LIMITS.filter(([name]) => name in values);
  return Object.fromEntries(given.map(([name]) => [name, values[name] === "" ? null : Number(values[name])]));
}

async function askAdd() {
  const isDone = await confirm({
    title: "Add a module",
    consequences: h("p", null, "From now on every company can have it, alone or with a plan."),
    fields: [
      field("Name", input({ name: "name", required: true, maxlength: 255 })),
      field("Code", input({ name: "code", required: true, maxlength: 50, pattern: "[a-z0-9][a-z0-9_.\\-]*" }), { hint: "Small letters and digits. It stays as it is." }),
      field("Description", textarea({ name: "description", maxlength: 5000 })),
      field("Counted in", input({ name: "unit", maxlength: 40, placeholder: "call" }), { hint: "Empty where nothing is counted." }),
      ...limitFields({}),
    ],
    submit: "Add",
    act: async (values) => {
      const { name, code, description, unit } = values;
      await api.post(PATH, { name, code, description: description || null, unit: unit || null, ...limitsOf(values) });
      toast(`${name} is sold from now on.`, { tone: "good" });
      invalidate(["modules"]);
    },
  });
  if (isDone) {
    refocus();
  }
}
