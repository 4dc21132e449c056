/**
 * Views by address, with the browser's own history. Links are real links.
 *
 * A view:
 *
 *     export default {
 *       path: "/payments/:id",                 // under /console; what ":" begins is an id
 *       title: "Payment",                      // or (context) => "..."
 *       nav: {label: "Payments", icon: "card"},          // where it stands in the navigation
 *       needsCompany: true,                    // an operator must have chosen one
 *       permission: "payments:read",           // who may see it
 *       show(context) { return {node, stop() {}}; },     // stop: end timers and watches
 *     };
 *
 * The first heading of `node` gets the focus when it is shown.
 */

import { h, replace } from "./dom.js";
import { closeDialogs } from "./ui/dialog.js";

/**
 * @typedef {object} Context
 * @property {Record<string, string>} params of the path
 * @property {URLSearchParams} query of the address, as it was when the view was shown
 * @property {AbortSignal} signal aborted when the view is left
 * @property {(path: string, options?: {isReplacing?: boolean}) => void} navigate
 * @property {(patch: Record<string, any>) => void} setQuery change the address only: filters
 * @property {(title: string) => void} setTitle
 */

/**
 * @typedef {object} View
 * @property {string} path
 * @property {string | ((context: Context) => string)} title
 * @property {{label: string, icon: string} | undefined} [nav]
 * @property {boolean} [needsCompany]
 * @property {string} [permission]
 * @property {(context: Context) => {node: HTMLElement, stop?: () => void}} show
 */

export const BASE = "/console";
const NAME = "Paybeat";
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @type {ReturnType<typeof createRouter> | null} */
let current = null;

/** Return the address of a view: `href("/payments", {status: "failed"})`. */
export function href(/** @type {string} */ path, /** @type {Record<string, any>} */ query = {}) {
  return addressOf(path, new URLSearchParams(), query);
}

/** @param {string} path @param {URLSearchParams} params @param {Record<string, any>} patch */
function addressOf(path, params, patch) {
  for (const [name, value] of Object.entries(patch)) {
    if (value !== null && value !== undefined && value !== "") {
      params.set(name, String(value));
    } else {
      params.delete(name);
    }
  }
  const text = params.toString();
  return BASE + (path === "/" ? "" : path) + (text ? `?${text}` : "");
}

/**
 * Return a link to a view.
 *
 * @param {string} path
 * @param {import("./dom.js").Child} text
 * @param {Record<string, any>} [props]
 */
export function link(path, text, props) {
  return h("a", { href: path.startsWith(BASE) ? path : href(path), ...props }, text);
}

/** Go to a view. */
export function navigate(/** @type {string} */ path, options = {}) {
  current?.navigate(path, options);
}

/**
 * @param {object} parts
 * @param {() => View[]} parts.views
 * @param {HTMLElement} parts.outlet
 * @param {(view: View, context: Context) => View | null} [parts.instead] a view to show instead
 * @param {(view: View | null, path: string) => void} [parts.onShown]
 */
export function createRouter({ views, outlet, instead = () => null, onShown = () => {} }) {
  /** @type {{stop: () => void} | null} */
  let shown = null;

  /** @param {string} path @param {{isReplacing?: boolean}} [options] */
  function go(path, { isReplacing = false } = {}) {
    const url = path.startsWith(BASE) ? path : BASE + (path === "/" ? "" : path);
    history.replaceState({ ...history.state, scroll: scrollY }, "");
    history[isReplacing ? "replaceState" : "pushState"](null, "", url);
    show({ hasMoved: true });
    scrollTo(0, 0);
  }

  /** Show what the address says. */
  function show({ hasMoved = false } = {}) {
    closeDialogs();
    shown?.stop();
    const path = location.pathname.slice(BASE.length).replace(/\/$/, "") || "/";
    const found = match(views(), path);
    const leaving = new AbortController();
    const context = contextOf(found?.params ?? {}, leaving.signal);
    const wanted = found?.view ?? missing;
    const view = instead(wanted, context) ?? wanted;
    const made = view.show(context);
    shown = {
      stop() {
        leaving.abort();
        made.stop?.();
      },
    };
    replace(outlet, made.node);
    context.setTitle(typeof view.title === "function" ? view.title(context) : view.title);
    onShown(found?.view ?? null, path);
    if (hasMoved) {
      focusHeading(outlet);
    }
  }

  /** @param {Record<string, string>} params @param {AbortSignal} signal @returns {Context} */
  function contextOf(params, signal) {
    return {
      params,
      query: new URLSearchParams(location.search),
      signal,
      navigate: go,
      setTitle: (title) => {
        if (!signal.aborted) {
          document.title = `${title} · ${NAME}`;
        }
      },
      setQuery(patch) {
        const path = location.pathname.slice(BASE.length) || "/";
        history.replaceState(null, "", addressOf(path, new URLSearchParams(location.search), patch));
      },
    };
  }

  addEventListener("popstate", ({ state }) => {
    show({ hasMoved: true });
    if (state?.scroll !== undefined) {
      scrollTo(0, state.scroll);
    }
  });
  document.addEventListener("click", (event) => {
    const target = linkOf(event);
    if (target) {
      event.preventDefault();
      go(target.pathname + target.search);
    }
  });

  current = { navigate: go, show };
  return current;
}

/** Return the link of a plain click that stays in the console; every other click is the browser's. */
function linkOf(/** @type {MouseEvent} */ event) {
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  const target = event.target instanceof Element ? event.target.closest("a") : null;
  if (!isPlain || event.altKey || event.defaultPrevented || !target?.href) {
    return null;
  }
  const isOurs = target.origin === location.origin && !target.target && !target.download;
  const isView = target.pathname === BASE || target.pathname.startsWith(`${BASE}/`);
  const isSamePlace = target.hash && target.pathname === location.pathname;
  return isOurs && isView && !isSamePlace ? target : null;
}

/** @param {View[]} views @param {string} path */
function match(views, path) {
  const given = path.split("/");
  for (const view of views) {
    const wanted = view.path.split("/");
    /** @type {Record<string, string>} */
    const params = {};
    const fits =
      wanted.length === given.length &&
      wanted.every((part, n) => {
        if (part.startsWith(":")) {
          // It becomes part of the API's addresses: what is no id would lead elsewhere in it.
          params[part.slice(1)] = given[n];
          return ID.test(given[n]);
        }
        return part === given[n];
      });
    if (fits) {
      return { view, params };
    }
  }
  return null;
}

function focusHeading(/** @type {HTMLElement} */ outlet) {
  const heading = outlet.querySelector("h1, h2");
  if (heading instanceof HTMLElement) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
}

/** @type {View} */
const missing = {
  path: "",
  title: "Not found",
  show: () => ({
    node: h(
      "section",
      { class: "state" },
      h("h1", null, "There is no such page"),
      h("p", null, "The address may be mistyped, or the page has moved. ", link("/", "Go to the overview"), "."),
    ),
  }),
};
