/** Having something done again: first what that would change, then for good. */

import { api } from "../api.js";
import { h } from "../dom.js";
import { count, words } from "../format.js";
import { invalidate } from "../query.js";
import { confirm, openDialog, stayingHere } from "../ui/dialog.js";
import { field, textarea } from "../ui/forms.js";
import { icon } from "../ui/icons.js";
import { toast, toastError } from "../ui/toasts.js";
import { button, facts, refocus } from "./parts.js";

// A worker does the work and rolls it back; it may be busy with others.
const FORESEE_WAIT_S = 15;
export const MOST_FORESEEN = 20;

/**
 * Show what replaying would change. Nothing is changed by it.
 *
 * @param {string} path of the API, such as "/operations/dead-letters"
 * @param {string[]} ids
 * @param {() => Promise<void>} goOn offered beneath what was foreseen
 */
export async function askDryRun(path, ids, goOn) {
  const isHere = stayingHere();
  try {
    const told = await api.post(`${path}/replay`, { ids, dry_run: true }, { waitS: FORESEE_WAIT_S });
    if (!isHere()) {
      return;
    }
    const { closed } = openDialog("What a replay would change", (close) => [
      h("p", { class: "quiet" }, "A worker did the work and rolled it back. Nothing is changed, and no provider was called."),
      told.foreseen.map(foreseen),
      told.foreseen.length === 0 ? h("p", null, "Nothing: it is in hand already.") : null,
      h("div", { class: "actions" }, h("button", { type: "button", onClick: close }, "Close"), button("retry", "Replay for good", async () => {
        close();
        await goOn();
      }, { class: "primary" })),
    ]);
    await closed;
  } catch (error) {
    toastError(error);
  }
  refocus();
}

/**
 * Ask whether to replay, and do it.
 *
 * @param {string} path
 * @param {any} which `{ids}`, `{filter}` or `{all: true}`
 * @param {string} noun "3 dead letters"
 * @param {string[]} touched what is read anew
 */
export async function askReplay(path, which, noun, touched) {
  await confirm({
    title: `Replay ${noun}?`,
    consequences: h("p", null, "The work is owed again and goes through the guards it always goes through: what was done meanwhile is not done twice, and a charge that may have happened is looked up, never sent anew."),
    fields: [field("Note", textarea({ name: "note", maxlength: 2000 }), { hint: "Why it may succeed now; kept with your name." })],
    submit: "Replay",
    act: async ({ note }) => {
      const answer = await api.post(`${path}/replay`, { ...which, ...(note ? { note } : {}) });
      const left = answer.left ? `, ${count(answer.left)} more are left` : "";
      toast(`${count(answer.replayed.length)} owed again${left}.`, { tone: "good" });
      touched.forEach((key) => invalidate([key]));
    },
  });
  refocus();
}

/** @param {any} one of what a dry run tells */
function foreseen(one) {
  const { changes, more_changes: more, owes, announces, ends, call, error, waits } = one;
  return h(
    "article",
    { class: "foreseen" },
    h("h3", null, h("code", null, `…${one.id.slice(-8)}`)),
    error ? h("p", { class: "told bad" }, icon("dispute"), h("span", null, h("strong", null, "It would fail again. "), error)) : null,
    waits ? h("p", { class: "told warn" }, icon("clock"), h("span", null, waits)) : null,
    call ? [h("h4", null, "It would call a provider"), facts(Object.entries(call).map(([name, value]) => [words(name), h("code", null, plain(value))]))] : null,
    changes.length ? [h("h4", null, "Rows that it would write"), changes.map(change)] : null,
    more ? h("p", { class: "quiet" }, `and ${count(more)} more`) : null,
    list("It would owe", owes.map((/** @type {any} */ each) => plain(each.task ?? each))),
    list("It would tell browsers", announces.map((/** @type {any} */ each) => plain(each.type ?? each))),
    ends.length ? h("p", null, `${count(ends.length)} owed would be done.`) : null,
    error || waits || call || changes.length || owes.length ? null : h("p", null, "Nothing would change: what was to be done is done."),
  );
}

/** @param {{table: string, id: string | null, how: string, columns: Record<string, any[]>}} row */
function change({ table, id, how, columns }) {
  return h(
    "details",
    null,
    h("summary", null, h("strong", null, words(how)), " ", h("code", null, table), id ? h("span", { class: "quiet" }, ` …${id.slice(-8)}`) : null),
    h(
      "dl",
      { class: "pairs" },
      Object.entries(columns).map(([name, [was, becomes]]) => [
        h("dt", null, name),
        h("dd", null, was === null || was === undefined ? null : [h("del", null, plain(was)), " → "], h("ins", null, plain(becomes))),
      ]),
    ),
  );
}

/** @param {string} title @param {string[]} items */
function list(title, items) {
  return items.length ? [h("h4", null, title), h("ul", { class: "plain-list" }, items.map((each) => h("li", null, h("code", null, each))))] : null;
}

/** @param {any} value */
function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
