/**
 * A real table, which a phone shows as cards; with "load more" where there is more.
 *
 *     const payments = table({
 *       caption: "Payments",
 *       columns: [{label: "Amount", cell: (p) => money(p.amount, p.currency), isNumber: true}, ...],
 *       rowKey: (p) => p.id, rowHref: (p) => href(`/payments/${p.id}`),
 *       empty: () => empty("No payments yet", ...),
 *     });
 *     payments.show(result, {onMore});
 */

import { h, replace } from "../dom.js";
import { navigate } from "../router.js";
import { shown } from "./states.js";

/**
 * @template T
 * @typedef {object} Column
 * @property {string} label
 * @property {(row: T) => import("../dom.js").Child} cell
 * @property {boolean} [isNumber] set to the right, digits of one width
 * @property {boolean} [isHeader] names its row for screen readers; the first column if none does
 * @property {boolean} [isHiddenLabel] shown to screen readers only
 * @property {(a: T, b: T) => number} [compare] makes the column one to sort by
 */

/**
 * @template T
 * @param {object} parts
 * @param {string} parts.caption
 * @param {Column<T>[]} parts.columns
 * @param {(row: T) => string} parts.rowKey
 * @param {(row: T) => string} [parts.rowHref] where a click on the row leads; the first cell links there
 * @param {() => import("../dom.js").Child} parts.empty
 * @param {boolean} [parts.isCaptionShown]
 */
export function table({ caption, columns, rowKey, rowHref, empty, isCaptionShown = false }) {
  const node = h("div", { class: "table" });
  /** @type {{column: number, isDescending: boolean} | null} */
  let order = null;
  let last = () => {};
  /** @type {Map<string, {text: string, row: HTMLTableRowElement}>} */
  let rows = new Map();

  const headings = columns.map((column, n) => headingOf(column, () => sortBy(n)));
  const body = h("tbody");
  const more = h("p", { class: "more" });
  const whole = h(
    "table",
    null,
    h("caption", { class: isCaptionShown ? null : "visually-hidden" }, caption),
    h("thead", null, h("tr", null, headings)),
    body,
  );
  const namer = Math.max(0, columns.findIndex((column) => column.isHeader));

  function sortBy(/** @type {number} */ n) {
    const isDescending = order?.column === n ? !order.isDescending : false;
    order = { column: n, isDescending };
    headings.forEach((heading, each) => {
      if (each === n) {
        heading.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      } else {
        heading.removeAttribute("aria-sort");
      }
    });
    last();
  }

  /** @param {T[]} data @returns {T[]} */
  function sorted(data) {
    const compare = order && columns[order.column].compare;
    if (!order || !compare) {
      return data;
    }
    const sign = order.isDescending ? -1 : 1;
    return [...data].sort((a, b) => sign * compare(a, b));
  }

  /** @param {T} row */
  function rowOf(row) {
    const to = rowHref?.(row);
    const cells = columns.map((column, n) => {
      const content = column.cell(row);
      const isFirst = n === namer;
      return h(
        isFirst ? "th" : "td",
        { scope: isFirst ? "row" : null, class: column.isNumber ? "number" : null, dataset: { label: column.label } },
        // As one: a phone sets a cell's parts apart.
        isFirst && to ? h("a", { href: to }, content) : Array.isArray(content) ? h("div", null, content) : content,
      );
    });
    return h("tr", { dataset: { key: rowKey(row) }, class: to ? "linked" : null, onClick: to && ((/** @type {MouseEvent} */ e) => follow(e, to)) }, cells);
  }

  /** Keep the rows that say the same as before: the focus and a selection in them stay. */
  function showRows(/** @type {T[]} */ data) {
    const before = rows;
    rows = new Map();
    const made = sorted(data).map((each) => {
      const text = JSON.stringify(each);
      const key = rowKey(each);
      const known = before.get(key);
      const row = known?.text === text ? known.row : rowOf(each);
      if (known && known.row !== row) {
        row.classList.add("changed");
      }
      rows.set(key, { text, row });
      return row;
    });
    arrange(body, made);
  }

  return {
    node,
    /**
     * Show the result of a query whose data is `{data: rows, next_cursor}` or an array of rows.
     *
     * @param {import("../query.js").Result<any>} result
     * @param {{onMore?: () => void}} [options]
     */
    show(result, { onMore } = {}) {
      last = () => showRows(listOf(result.data));
      const list = listOf(result.data);
      node.classList.toggle("previous", result.isPrevious);
      node.setAttribute("aria-busy", String(result.isLoading || result.isPrevious));
      if (list.length > 0) {
        showRows(list);
        showMore(more, result, onMore);
        put(node, [shownError(result), whole, more]);
      } else {
        rows = new Map();
        put(node, [h("div", null, shown(result, () => empty()))]);
      }
    },
  };
}

/** @param {any} data @returns {any[]} */
function listOf(data) {
  return Array.isArray(data) ? data : (data?.data ?? []);
}

/** @param {any} result */
function shownError(result) {
  return result.error ? h("div", null, shown(result, () => null)) : null;
}

/** Set children without moving those that stand already: moving would lose the focus. */
function put(/** @type {HTMLElement} */ node, /** @type {(Node | null)[]} */ wanted) {
  arrange(node, /** @type {Node[]} */ (wanted.filter(Boolean)));
}

/** @param {Element} node @param {Node[]} wanted */
function arrange(node, wanted) {
  const kept = new Set(wanted);
  for (const child of [...node.childNodes]) {
    if (!kept.has(child)) {
      child.remove();
    }
  }
  wanted.forEach((child, n) => {
    if (node.childNodes[n] !== child) {
      node.insertBefore(child, node.childNodes[n] ?? null);
    }
  });
}

/**
 * @param {Column<any>} column
 * @param {() => void} sort
 */
function headingOf(column, sort) {
  const label = column.isHiddenLabel ? h("span", { class: "visually-hidden" }, column.label) : column.label;
  return h(
    "th",
    { scope: "col", class: column.isNumber ? "number" : null },
    column.compare ? h("button", { type: "button", class: "sort", onClick: sort }, label) : label,
  );
}

/**
 * @param {HTMLElement} more
 * @param {any} result
 * @param {(() => void) | undefined} onMore
 */
function showMore(more, result, onMore) {
  if (!onMore || !result.data?.next_cursor) {
    replace(more);
  } else if (!more.firstChild) {
    replace(more, h("button", { type: "button", onClick: onMore }, "Load more"));
  }
  const button = more.querySelector("button");
  if (button) {
    button.disabled = result.isPrevious;
  }
}

/** A click on the row is a click on its link, unless something in it was meant. */
function follow(/** @type {MouseEvent} */ event, /** @type {string} */ to) {
  const target = /** @type {Element} */ (event.target);
  const hasSelected = String(getSelection() ?? "") !== "";
  if (!event.defaultPrevented && !hasSelected && !target.closest("a, button, input, label, summary, select")) {
    navigate(to);
  }
}
