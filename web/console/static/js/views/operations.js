/** What operators see to: one page with a part each for what was given up, alerts, reviews, events, the book. */

import { h } from "../dom.js";
import { href } from "../router.js";
import { heading } from "./parts.js";

export const AT = "/operations";

/** @type {[string, string][]} */
const PARTS = [
  [AT, "Dead letters"],
  [`${AT}/alerts`, "Alerts"],
  [`${AT}/reviews`, "Reviews"],
  [`${AT}/events`, "Webhook events"],
  [`${AT}/mails`, "Mail"],
  [`${AT}/reconciliations`, "Reconciliation"],
  [`${AT}/breaks`, "Breaks"],
  [`${AT}/payouts`, "Payouts"],
  [`${AT}/imports`, "Imports"],
  [`${AT}/invariants`, "The book"],
];

/**
 * Return a view's frame: the heading of all of them, and links from one to another.
 *
 * @param {string} path of the one that is shown
 * @param {...import("../dom.js").Child} children
 */
export function frame(path, ...children) {
  const links = PARTS.map(([to, name]) => h("li", null, h("a", { href: href(to), "aria-current": to === path ? "page" : null }, name)));
  // On a phone not all of them fit: the one that is shown is in sight.
  requestAnimationFrame(() => links.find((each) => each.querySelector("[aria-current=page]"))?.scrollIntoView({ block: "nearest", inline: "center" }));
  return h("section", null, heading("Operations"), h("nav", { class: "tabs", "aria-label": "Operations" }, h("ul", null, links)), children);
}
