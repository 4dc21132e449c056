/** What several views are made of. */

import { h, replace } from "/console/static/js/dom.js";
import { ApiError } from "./api.js";
import { say, statusWord } from "./words.js";

const TONES = /** @type {Record<string, string>} */ ({ paid: "good", succeeded: "good", failed: "bad", open: "warn", requires_action: "warn" });

/** Put a view in the place of the one before, and let the reader begin at its heading. */
export function show(/** @type {string} */ title, /** @type {any[]} */ ...children) {
  document.title = title;
  const view = /** @type {HTMLElement} */ (document.getElementById("view"));
  replace(view, ...children);
  const heading = view.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

/** A status in words. */
export function badge(/** @type {string} */ status) {
  return h("span", { class: `badge ${TONES[status] ?? ""}` }, statusWord(status));
}

/** Something that is told in the middle of a view. @param {"good" | "bad" | ""} tone @param {...any} children */
export function note(tone, ...children) {
  return h("div", { class: `note ${tone}`, role: tone === "bad" ? "alert" : "status" }, children.map((each) => h("p", null, each)));
}

/** A button that is busy until what it does is done; what fails is told above it. */
export function button(/** @type {string} */ text, /** @type {() => Promise<any>} */ act, { kind = "", busy = text, place = /** @type {any} */ (null) } = {}) {
  const node = h("button", { type: "button", class: kind }, text);
  node.addEventListener("click", async () => {
    node.disabled = true;
    node.textContent = busy;
    try {
      await act();
    } catch (error) {
      if (error instanceof ApiError && [401, 410].includes(error.status)) {
        // What can be done about an ended visit is told where one begins.
        location.reload();
      }
      replace(place ?? errorPlaceOf(node), note("bad", inWords(error)));
    } finally {
      node.disabled = false;
      node.textContent = text;
    }
  });
  return node;
}

function errorPlaceOf(/** @type {HTMLElement} */ node) {
  const place = h("div");
  node.parentElement?.prepend(place);
  return place;
}

/** Return an error in words that help. */
export function inWords(/** @type {any} */ error) {
  if (!(error instanceof ApiError)) {
    return error?.message ?? say("failed");
  }
  if (error.status === 0) {
    return say("noServer");
  }
  return error.status === 429 ? say("tooMany") : `${say("failed")}: ${error.message}`;
}
