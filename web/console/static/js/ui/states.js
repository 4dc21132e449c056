/** What is shown where there is nothing to show: empty, loading, failed. Each says what to do. */

import { h } from "../dom.js";
import { icon } from "./icons.js";

/**
 * Nothing is there.
 *
 * @param {string} title "No payments yet"
 * @param {import("../dom.js").Child} [advice] what would put something here
 * @param {import("../dom.js").Child} [action] a button or a link
 */
export function empty(title, advice, action) {
  return h(
    "div",
    { class: "state" },
    h("p", { class: "state-title" }, title),
    advice ? h("p", { class: "quiet" }, advice) : null,
    action ? h("p", null, action) : null,
  );
}

/** It is being asked; shown as lines where rows will be. */
export function loading(what = "Loading…", lines = 3) {
  return h(
    "div",
    { class: "state loading", role: "status" },
    h("span", { class: "visually-hidden" }, what),
    Array.from({ length: lines }, () => h("div", { class: "bone", "aria-hidden": "true" })),
  );
}

/**
 * It could not be had.
 *
 * @param {any} error an ApiError, a NetworkError or a bug
 * @param {() => void} [retry]
 * @param {{isTriedOn?: boolean}} [options] it is tried again by itself, too
 */
export function failed(error, retry, { isTriedOn = false } = {}) {
  const title = error?.title ?? "Something went wrong in this page";
  const detail = error?.detail ?? error?.message ?? title;
  const said = [detail === title ? "" : detail, advice(error), isTriedOn ? "This is tried again by itself." : ""];
  return h(
    "div",
    { class: "state failed", role: "alert" },
    icon("dispute"),
    h("p", { class: "state-title" }, title),
    h("p", null, said.filter(Boolean).join(" ")),
    retry ? h("p", null, h("button", { type: "button", onClick: retry }, icon("refresh"), "Try again")) : null,
    error?.requestId ? h("p", { class: "quiet" }, `Request ${error.requestId}`) : null,
  );
}

function advice(/** @type {any} */ error) {
  if (error?.status === 403) {
    return "Ask an owner of the company, or sign in as somebody who may.";
  }
  if (error?.status === 404) {
    return "It may have been removed, or belong to another company.";
  }
  return error?.status >= 500 ? "It is no fault of yours." : "";
}

/**
 * Return what a query's result looks like: loading, failed, or what `show` makes of its data. With
 * old data and a new error both are shown.
 *
 * @template T
 * @param {import("../query.js").Result<T>} result
 * @param {(data: T) => import("../dom.js").Child} show
 * @param {{lines?: number}} [options]
 * @returns {import("../dom.js").Child}
 */
export function shown(result, show, { lines } = {}) {
  if (result.data !== undefined) {
    return [result.error ? stale(result) : null, show(result.data)];
  }
  const { error } = result;
  return error ? failed(error, () => void result.refetch(), { isTriedOn: Boolean(error.isPassing) }) : loading("Loading…", lines);
}

/** What is shown is old, for it could not be asked anew. */
function stale(/** @type {import("../query.js").Result<any>} */ result) {
  return h(
    "p",
    { class: "stale", role: "status" },
    icon("clock"),
    ` This may be out of date: ${result.error.title ?? "it could not be refreshed"}. `,
    h("button", { type: "button", class: "plain", onClick: () => void result.refetch() }, "Try again"),
  );
}
