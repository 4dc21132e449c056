/** What the views are put together from. */

import { api } from "../api.js";
import { h, newId, replace } from "../dom.js";
import { duration, status } from "../format.js";
import { follow, invalidate, query } from "../query.js";
import { href } from "../router.js";
import { field, input, select } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { table } from "../ui/table.js";
import { toastError } from "../ui/toasts.js";

const TYPING_MS = 300;
const SECOND_MS = 1000;
const AGAIN_MS = 2000;

/**
 * Return a view's heading with what stands beside it.
 *
 * @param {import("../dom.js").Child} title
 * @param {import("../dom.js").Child} [beside] buttons
 * @param {{path: string, label: string}} [back] where it belongs
 */
export function heading(title, beside, back) {
  return h(
    "header",
    null,
    back ? h("a", { class: "back", href: href(back.path) }, icon("chevron"), back.label) : null,
    h("div", { class: "head" }, h("h1", null, title), h("div", { class: "actions" }, beside)),
  );
}

/**
 * Return a part of a view under a heading of its own.
 *
 * @param {import("../dom.js").Child} title
 * @param {...import("../dom.js").Child} children
 */
export function panel(title, ...children) {
  const id = newId("panel");
  return h("section", { class: "card panel", "aria-labelledby": id }, h("h2", { id }, title), children);
}

/**
 * Return names with their values; those without a value are left out.
 *
 * @param {[string, import("../dom.js").Child][]} pairs
 */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "dl",
    { class: "pairs" },
    known.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}

/**
 * Draw anew only what says something else than before, so that the focus stays where it is.
 *
 * @template T
 * @param {HTMLElement} node
 * @param {(given: T) => import("../dom.js").Child} draw
 * @returns {(given: T) => void}
 */
export function redrawn(node, draw) {
  let known = "";
  return (given) => {
    const text = JSON.stringify(given);
    if (text !== known) {
      known = text;
      replace(node, draw(given));
    }
  };
}

/**
 * Return what of a query's result is drawn; without its times, which change with each answer.
 *
 * @param {import("../query.js").Result<any>} result
 * @returns {any} a result
 */
export function seen({ data, error, isLoading, refetch }) {
  const { title, detail, status, requestId, isPassing } = error ?? {};
  return { data, error: error ? { title, detail, status, requestId, isPassing } : null, isLoading, refetch };
}

/** Return a switch: while it is on, what begins with the key is asked again every other second. */
export function again(/** @type {string[]} */ key) {
  /** @type {any} */
  let timer = null;
  return {
    /** Return whether that is something new. */
    set(/** @type {boolean} */ isOn) {
      const isNew = isOn !== (timer !== null);
      if (isNew) {
        clearInterval(timer);
        timer = isOn ? setInterval(() => invalidate(key), AGAIN_MS) : null;
      }
      return isNew;
    },
  };
}

/**
 * Count down to a moment, second by second.
 *
 * @param {() => number} now the clock that the moment is of, in milliseconds
 * @param {AbortSignal} signal ends it
 */
export function countdown(now, signal) {
  const node = h("span", { role: "timer", class: "countdown" });
  let until = NaN;
  const show = () => {
    const left = Math.floor((until - now()) / SECOND_MS);
    const text = Number.isNaN(left) ? "" : left > 0 ? `in ${duration(left)}` : "any moment now";
    if (node.textContent !== text) {
      node.textContent = text;
    }
  };
  const timer = setInterval(show, SECOND_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return {
    node,
    /** @param {string | null | undefined} at */
    aim(at) {
      until = at ? Date.parse(at) : NaN;
      show();
    },
  };
}

/**
 * @typedef {object} Filter
 * @property {string} name in the address and of the API
 * @property {string} label
 * @property {(string | [string, string])[]} [options] to choose from, values joined by ","; without
 *   them it is typed
 * @property {"search" | "date"} [type]
 * @property {string} [placeholder]
 * @property {(value: string) => Record<string, any>} [toQuery] what the API is asked
 */

/** Filters by the day on which something was made, both days included. */
export const DAYS = /** @type {Filter[]} */ ([
  { name: "from", label: "From", type: "date", toQuery: (day) => ({ created_from: startOf(day, 0) }) },
  { name: "to", label: "To", type: "date", toQuery: (day) => ({ created_to: startOf(day, 1) }) },
]);

/** Return when a day begins here, `later` days later. */
function startOf(/** @type {string} */ day, /** @type {number} */ later) {
  const at = new Date(`${day}T00:00:00`);
  at.setDate(at.getDate() + later);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

/**
 * A list with filters, which stand in the address, so that a link shows the same.
 *
 * @param {object} parts
 * @param {import("../router.js").Context} parts.context
 * @param {string[]} parts.key what its queries begin with
 * @param {string} parts.path of the API
 * @param {Filter[]} parts.filters
 * @param {Record<string, any>} [parts.always] asked with every filter
 * @param {(result: import("../query.js").Result<any>) => void} [parts.onResult]
 * @param {Parameters<typeof table>[0]} parts.table
 */
export function listing({ context, key, path, filters, always = {}, onResult, ...parts }) {
  const rows = table(parts.table);
  let pages = 1;
  const results = follow((result) => {
    rows.show(fitting(result), { onMore: more });
    onResult?.(result);
  });
  /** @type {any} */
  let typing;
  const fields = filters.map((filter) => field(filter.label, controlOf(filter, context.query.getAll(filter.name).join(","))));
  const values = () => Object.fromEntries(fields.map((each) => [each.name, String(each.control.value).trim()]));

  function ask(/** @type {number} */ count) {
    pages = count;
    const given = values();
    const asked = { ...always, ...queryOf(filters, given) };
    results.show(
      query([...key, "list", asked, count], ({ signal }) => api.pages(path, { query: asked, signal, count })),
    );
  }
  /** Who comes back to this place of the history finds as many rows as they had. */
  function more() {
    ask(pages + 1);
    history.replaceState({ ...history.state, pages }, "");
  }
  function change() {
    clearTimeout(typing);
    context.setQuery(values());
    ask(1);
  }
  const form = h(
    "form",
    { class: "filters", role: "search", "aria-label": `Filter: ${parts.table.caption}` },
    fields.map((each) => each.node),
    h("button", { type: "button", class: "plain", onClick: () => clear() }, "Clear"),
  );
  function clear() {
    for (const each of fields) {
      each.control.value = "";
    }
    change();
  }
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    change();
  });
  form.addEventListener("change", change);
  form.addEventListener("input", (/** @type {Event} */ event) => {
    if (/** @type {HTMLElement} */ (event.target).matches("[type=search]")) {
      clearTimeout(typing);
      typing = setTimeout(change, TYPING_MS);
    }
  });
  ask(Number(history.state?.pages) || 1);
  return {
    form,
    rows: rows.node,
    values,
    stop() {
      clearTimeout(typing);
      results.stop();
    },
  };
}

/**
 * A search for what nothing can be called finds nothing; it is no failure.
 *
 * @param {import("../query.js").Result<any>} result
 */
function fitting(result) {
  const { error } = result;
  const isOfSearch = error?.status === 422 && error.errors?.some((/** @type {any} */ each) => each.field === "search");
  return isOfSearch ? { ...result, error: null, data: { data: [], next_cursor: null } } : result;
}

/** @param {Filter} filter @param {string} value */
function controlOf({ name, type = "search", options, placeholder }, value) {
  return options
    ? select({ name, value }, [["", "Any"], ...withChosen(options, value)])
    : input({ name, type, value, placeholder });
}

/** An address may ask for what stands in no list: it stays chosen, and says what it is. */
function withChosen(/** @type {(string | [string, string])[]} */ options, /** @type {string} */ value) {
  const known = new Map(options.map((each) => (Array.isArray(each) ? each : [each, each])));
  if (!value || known.has(value)) {
    return options;
  }
  const text = value.split(",").map((each) => known.get(each) ?? status(each));
  return [...options, /** @type {[string, string]} */ ([value, text.join(", ")])];
}

/** @param {Filter[]} filters @param {Record<string, string>} given */
function queryOf(filters, given) {
  const parts = filters
    .filter(({ name }) => given[name])
    .map(({ name, options, toQuery }) => {
      const value = options ? given[name].split(",") : given[name];
      return toQuery ? toQuery(given[name]) : { [name]: value };
    });
  return Object.assign({}, ...parts);
}

/**
 * Return a button that does one thing at a time and says so while it does.
 *
 * @param {string} name of its icon
 * @param {string} text
 * @param {(event: Event) => Promise<any> | void} act
 * @param {Record<string, any>} [props]
 */
export function button(name, text, act, props) {
  const node = h("button", { type: "button", ...props }, icon(name), text);
  node.addEventListener("click", async (/** @type {Event} */ event) => {
    if (node.getAttribute("aria-busy") === "true") {
      return;
    }
    node.setAttribute("aria-busy", "true");
    try {
      await act(event);
    } catch (error) {
      toastError(error);
    } finally {
      node.removeAttribute("aria-busy");
    }
  });
  return node;
}

/** Give the focus to the view's heading where an act took away what had it. */
export function refocus() {
  if (document.activeElement === document.body || document.activeElement === null) {
    const first = document.querySelector("#view h1");
    if (first instanceof HTMLElement) {
      first.tabIndex = -1;
      first.focus({ preventScroll: true });
    }
  }
}
