/** The book: sentences that must hold of every row, judged now. */

import { api } from "../api.js";
import { h, replace } from "../dom.js";
import { count, words } from "../format.js";
import { query, watch } from "../query.js";
import { badge } from "../ui/badge.js";
import { shown } from "../ui/states.js";
import { AT, frame } from "./operations.js";
import { button } from "./parts.js";

/** @type {import("../router.js").View} */
export const invariants = {
  path: `${AT}/invariants`,
  title: "The book",
  permission: "operations",
  show() {
    const body = h("div", { class: "stack" });
    // A look at the whole book is dear: it is made when somebody asks, not when something happens.
    const asked = query(["invariants"], ({ signal }) => api.get("/operations/invariants", { signal }), { staleMs: Infinity });
    const again = button("refresh", "Judge again", () => asked.refetch());
    const stop = watch(asked, (result) => {
      body.setAttribute("aria-busy", String(result.isFetching));
      replace(body, shown(result, drawn));
    });
    return { node: frame(`${AT}/invariants`, h("div", { class: "bar" }, h("span", { class: "quiet" }, "Judged over the whole book, for ten seconds at most."), again), body), stop };
  },
};

function drawn(/** @type {any} */ { holds, data }) {
  const [tone, text] = verdict(holds);
  return [
    h("p", { class: `told ${tone}`, role: "status" }, h("strong", null, text)),
    h("ul", { class: "verdicts" }, data.map(one)),
  ];
}

/** @param {boolean | null} holds @returns {[string, string]} */
function verdict(holds) {
  if (holds === null) {
    return ["warn", "There was no time to look at all of it."];
  }
  return holds ? ["good", "Every sentence holds."] : ["bad", "A sentence does not hold: a bug, or a row that was changed by hand."];
}

function one(/** @type {any} */ { invariant, holds, violations, hidden }) {
  const tone = holds === null ? "warn" : holds ? "good" : "bad";
  const text = holds === null ? "Not looked at" : holds ? "Holds" : "Broken";
  return h(
    "li",
    null,
    badge(text, { text, tone }),
    h("span", null, words(invariant)),
    violations.length ? h("ul", { class: "plain-list" }, violations.map((/** @type {string} */ each) => h("li", null, h("code", null, each)))) : null,
    hidden ? h("p", { class: "quiet" }, `${count(hidden)} rows of other tenants break it too.`) : null,
  );
}
