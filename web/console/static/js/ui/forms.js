/**
 * Form fields with labels, hints and errors; errors of the API are shown at the fields they name.
 *
 *     const amount = field("Amount", input({name: "amount", required: true}), {hint: "At most ₹100"});
 *     const form = formOf({fields: [amount], submit: "Refund", onSubmit: async (values) => {...}});
 */

import { h, newId, replace } from "../dom.js";
import { icon } from "./icons.js";

/** @param {Record<string, any>} props */
export function input(props) {
  return h("input", { type: "text", autocomplete: "off", ...props });
}

/**
 * @param {Record<string, any>} props
 * @param {(string | [string, string])[]} options a value, or a value and its words
 */
export function select(props, options) {
  const { value, ...rest } = props;
  const node = h(
    "select",
    rest,
    options.map((option) => {
      const [each, text] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: each }, text);
    }),
  );
  if (value !== undefined && value !== null) {
    node.value = value;
  }
  return node;
}

/** @param {Record<string, any>} props */
export function textarea(props) {
  const { value, ...rest } = props;
  const node = h("textarea", { rows: 3, ...rest });
  node.value = value ?? "";
  return node;
}

/**
 * @typedef {object} Field
 * @property {HTMLElement} node
 * @property {any} control
 * @property {string} name
 * @property {(text: string | null) => void} setError
 */

/**
 * Put a label, a hint and a place for errors around a control.
 *
 * @param {string} label
 * @param {any} control
 * @param {{hint?: import("../dom.js").Child, isHiddenLabel?: boolean}} [options]
 * @returns {Field}
 */
export function field(label, control, { hint, isHiddenLabel = false } = {}) {
  const id = control.id || newId("field");
  control.id = id;
  const error = h("p", { class: "field-error", id: `${id}-error`, hidden: true });
  const note = hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null;
  const isBox = control.type === "checkbox";
  const text = h("label", { for: id, class: isHiddenLabel ? "visually-hidden" : null }, label);
  const describe = (/** @type {boolean} */ hasError) => {
    const ids = [note && `${id}-hint`, hasError && `${id}-error`].filter(Boolean).join(" ");
    control.toggleAttribute("aria-describedby", Boolean(ids));
    if (ids) {
      control.setAttribute("aria-describedby", ids);
    }
  };
  describe(false);
  const node = h("div", { class: isBox ? "field box" : "field" }, isBox ? [control, text] : [text, control], note, error);
  return {
    node,
    control,
    name: control.name,
    setError(message) {
      error.hidden = !message;
      replace(error, message);
      if (message) {
        control.setAttribute("aria-invalid", "true");
      } else {
        control.removeAttribute("aria-invalid");
      }
      describe(Boolean(message));
    },
  };
}

/**
 * Return a form that shows what is wrong where it is wrong, and takes one submission at a time.
 *
 * @param {object} parts
 * @param {Field[]} parts.fields
 * @param {string} parts.submit words of the button
 * @param {(values: Record<string, any>) => Promise<void> | void} parts.onSubmit may throw an ApiError
 * @param {string} [parts.tone] of the button: "primary" or "danger"
 * @param {() => void} [parts.onCancel]
 * @param {string} [parts.cancel]
 * @param {import("../dom.js").Child} [parts.before]
 * @returns {HTMLFormElement}
 */
export function formOf({ fields, submit, onSubmit, tone = "primary", onCancel, cancel = "Cancel", before }) {
  const problem = h("div", { class: "form-error", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: tone }, submit);
  const form = h(
    "form",
    { novalidate: true, class: "form" },
    before,
    problem,
    fields.map((each) => each.node),
    h(
      "div",
      { class: "actions" },
      onCancel ? h("button", { type: "button", onClick: onCancel }, cancel) : null,
      button,
    ),
  );
  let isBusy = false;
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (isBusy || !areFilled(fields)) {
      return;
    }
    problem.hidden = true;
    isBusy = true;
    // By its property it would lose the focus of who pressed it.
    button.setAttribute("aria-disabled", "true");
    button.setAttribute("aria-busy", "true");
    try {
      await onSubmit(valuesOf(fields));
    } catch (error) {
      showProblem(error, fields, problem);
    } finally {
      isBusy = false;
      button.removeAttribute("aria-disabled");
      button.removeAttribute("aria-busy");
    }
  });
  return form;
}

/** @param {Field[]} fields @returns {Record<string, any>} */
function valuesOf(fields) {
  return Object.fromEntries(
    fields.map(({ name, control }) => [
      name,
      control.type === "checkbox" ? control.checked : String(control.value).trim(),
    ]),
  );
}

/** Let the browser's own rules judge; its own words say what is wrong. */
function areFilled(/** @type {Field[]} */ fields) {
  let first = null;
  for (const each of fields) {
    const isGood = each.control.checkValidity();
    each.setError(isGood ? null : each.control.validationMessage);
    first ??= isGood ? null : each.control;
  }
  first?.focus();
  return first === null;
}

/**
 * @param {any} error
 * @param {Field[]} fields
 * @param {HTMLElement} problem
 */
function showProblem(error, fields, problem) {
  const told = [];
  let first = null;
  for (const { field: path, detail } of error?.errors ?? []) {
    const found = fields.find((each) => each.name === path || each.name === path.split(".")[0]);
    if (found) {
      found.setError(detail);
      first ??= found.control;
    } else {
      told.push(`${path} ${detail}`);
    }
  }
  if (first === null || told.length > 0) {
    const title = error?.title ?? "Something went wrong in this page";
    const detail = told.join("; ") || error?.detail || String(error?.message ?? error);
    problem.hidden = false;
    replace(problem, icon("dispute"), h("div", null, h("strong", null, title), detail === title ? null : h("p", null, detail)));
  }
  first?.focus();
}
