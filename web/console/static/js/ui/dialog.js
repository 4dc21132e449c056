/** The browser's own <dialog>: it keeps the focus, and Escape closes it. */

import { h, newId } from "../dom.js";
import { formOf } from "./forms.js";
import { icon } from "./icons.js";

/**
 * Open a dialog; it is gone from the page once closed.
 *
 * @param {string} title
 * @param {(close: () => void) => import("../dom.js").Child} fill
 * @returns {{node: HTMLDialogElement, close: () => void, closed: Promise<void>}}
 */
export function openDialog(title, fill) {
  const id = newId("dialog");
  const close = () => node.close();
  /** @type {HTMLDialogElement} */
  const node = h(
    "dialog",
    { "aria-labelledby": id },
    h(
      "header",
      null,
      h("h2", { id }, title),
      h("button", { type: "button", class: "plain", "aria-label": "Close", onClick: close }, icon("close")),
    ),
    h("div", { class: "dialog-body" }, fill(close)),
  );
  document.body.append(node);
  const closed = new Promise((/** @type {(value: void) => void} */ resolve) => {
    node.addEventListener("close", () => {
      node.remove();
      resolve();
    });
  });
  node.showModal();
  return { node, close, closed };
}

let closings = 0;

/** Close every dialog: what it was opened from is left. */
export function closeDialogs() {
  closings += 1;
  document.querySelectorAll("dialog").forEach((node) => node.close());
}

/** Return what tells whether what is shown is what was shown now: else a dialog comes too late. */
export function stayingHere() {
  const before = closings;
  return () => closings === before;
}

/**
 * Ask before something that cannot be undone, and name what it does. Resolves to whether it was done.
 *
 * @param {object} parts
 * @param {string} parts.title "Refund ₹500.00?"
 * @param {import("../dom.js").Child} parts.consequences what will happen
 * @param {string} parts.submit the act in a word: "Refund", never "OK"
 * @param {(values: Record<string, any>) => Promise<void> | void} parts.act its error stays shown
 * @param {import("./forms.js").Field[]} [parts.fields]
 * @param {string} [parts.tone]
 * @returns {Promise<boolean>}
 */
export async function confirm({ title, consequences, submit, act, fields = [], tone = "primary" }) {
  let isDone = false;
  const { closed } = openDialog(title, (close) =>
    formOf({
      before: h("div", { class: "consequences" }, consequences),
      fields,
      submit,
      tone,
      onCancel: close,
      async onSubmit(values) {
        await act(values);
        isDone = true;
        close();
      },
    }),
  );
  await closed;
  return isDone;
}
