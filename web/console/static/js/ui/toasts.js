/** Short messages in a corner, told to screen readers, gone after a while unless they are errors. */

import { h, newId } from "../dom.js";
import { icon } from "./icons.js";

const STAY_MS = 8000;
const MOST = 4;

/** @returns {HTMLElement} */
function region() {
  let found = document.getElementById("toasts");
  if (!found) {
    found = h("div", { id: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(/** @type {HTMLElement} */ (found));
  }
  return /** @type {HTMLElement} */ (found);
}

/**
 * Show a message.
 *
 * @param {import("../dom.js").Child} text
 * @param {{tone?: "good" | "bad" | "warn" | "calm", stayMs?: number}} [options] 0 stays
 * @returns {() => void} takes it away
 */
export function toast(text, { tone = "calm", stayMs } = {}) {
  const stays = stayMs ?? (tone === "bad" ? 0 : STAY_MS);
  const away = () => node.remove();
  const node = h(
    "div",
    { class: `toast ${tone}`, id: newId("toast") },
    h("div", { class: "toast-text" }, text),
    h("button", { type: "button", class: "plain", "aria-label": "Dismiss", onClick: away }, icon("close")),
  );
  const all = region();
  all.append(node);
  while (all.children.length > MOST) {
    all.firstElementChild?.remove();
  }
  if (stays > 0) {
    leaveAfter(node, stays, away);
  }
  return away;
}

/** Who points at it or has the focus in it still reads. */
function leaveAfter(/** @type {HTMLElement} */ node, /** @type {number} */ ms, /** @type {() => void} */ away) {
  let timer = setTimeout(away, ms);
  const hold = () => clearTimeout(timer);
  const release = () => {
    clearTimeout(timer);
    timer = setTimeout(away, ms);
  };
  node.addEventListener("mouseenter", hold);
  node.addEventListener("focusin", hold);
  node.addEventListener("mouseleave", release);
  node.addEventListener("focusout", release);
}

/** Show why something failed. */
export function toastError(/** @type {any} */ error) {
  const title = error?.title ?? "Something went wrong in this page";
  const detail = error?.detail ?? String(error?.message ?? error);
  toast([h("strong", null, title), detail === title ? null : h("div", null, detail)], { tone: "bad" });
}
