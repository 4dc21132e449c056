/** Dead letters: work that was given up. Looked into, replayed one or many, or dismissed. */

import { api } from "../api.js";
import { h, replace } from "../dom.js";
import { count, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, textarea } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./operations.js";
import { button, facts, heading, listing, panel, redrawn, refocus } from "./parts.js";
import { MOST_FORESEEN, askDryRun, askReplay } from "./replay.js";

const PATH = "/operations/dead-letters";
const TOUCHED = ["dead-letters", "payments", "webhook-events", "health"];
/** @type {[string, string][]} */
const STATUSES = [["dismissed", "Dismissed"]];

/** @type {import("../router.js").View} */
export const letters = {
  path: AT,
  title: "Dead letters",
  nav: { label: "Operations", icon: "dead" },
  permission: "operations",
  show(context) {
    /** @type {Set<string>} */
    const chosen = new Set();
    const tell = h("span", { class: "quiet", role: "status" });
    const foresee = button("search", "Dry run", () => askDryRun(PATH, [...chosen], () => askReplay(PATH, { ids: [...chosen] }, nounOf(chosen.size), TOUCHED)));
    const again = button("retry", "Replay", async () => {
      await askReplay(PATH, { ids: [...chosen] }, nounOf(chosen.size), TOUCHED);
    });
    const showChosen = () => {
      foresee.disabled = chosen.size === 0 || chosen.size > MOST_FORESEEN;
      again.disabled = chosen.size === 0;
      const limit = chosen.size > MOST_FORESEEN ? `; a dry run tells of ${MOST_FORESEEN} at most` : "";
      replace(tell, chosen.size ? `${count(chosen.size)} chosen${limit}` : "Choose some to replay them.");
    };
    showChosen();
    const list = listing({
      context,
      key: ["dead-letters"],
      path: PATH,
      filters: [
        { name: "task", label: "Task", placeholder: "payments.charge" },
        { name: "status", label: "Status", options: STATUSES },
      ],
      onResult({ data }) {
        // What is there no more is not chosen any more.
        const ids = new Set((data?.data ?? []).map((/** @type {any} */ each) => each.id));
        [...chosen].filter((id) => !ids.has(id)).forEach((id) => chosen.delete(id));
        showChosen();
      },
      table: {
        caption: "Dead letters",
        columns: [
          { label: "Choose", isHiddenLabel: true, cell: (each) => chooser(each, chosen, showChosen) },
          { label: "Task", isHeader: true, cell: (each) => h("code", null, each.task) },
          { label: "Why", cell: (each) => each.error ?? "—" },
          { label: "Concerns", cell: concerns },
          { label: "Failures", isNumber: true, cell: (each) => count(each.failures) },
          { label: "Given up", cell: (each) => time(each.died_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${AT}/dead-letters/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No dead letter fits", "Choose another task or status.")
            : empty("Nothing was given up", "Work that fails five times is kept here until somebody sees to it."),
      },
    });
    const bar = h("div", { class: "bar" }, tell, h("div", { class: "actions" }, foresee, again, button("retry", "Replay all", () => askReplay(PATH, { all: true }, "all dead letters", TOUCHED))));
    return { node: frame(AT, list.form, bar, list.rows), stop: list.stop };
  },
};

/** @param {number} number */
function nounOf(number) {
  return number === 1 ? "this dead letter" : `${count(number)} dead letters`;
}

/** @param {any} letter @param {Set<string>} chosen @param {() => void} change */
function chooser(letter, chosen, change) {
  const box = h("input", { type: "checkbox", "aria-label": `Choose ${letter.task}, ${letter.id.slice(-8)}`, checked: chosen.has(letter.id) });
  box.addEventListener("change", () => {
    chosen[box.checked ? "add" : "delete"](letter.id);
    change();
  });
  return box;
}

function concerns(/** @type {any} */ letter) {
  const all = Object.entries(letter.concerns);
  return all.length ? all.map(([name, id]) => h("div", null, words(name.replace(/_id$/, "")), " ", aboutOf(name, String(id)))) : "—";
}

/** @param {string} name @param {string} id */
function aboutOf(name, id) {
  const text = h("code", null, `…${id.slice(-8)}`);
  return name === "transaction_id" ? h("a", { href: href(`/payments/${id}`) }, text) : text;
}

/** @type {import("../router.js").View} */
export const letter = {
  path: `${AT}/dead-letters/:id`,
  title: "Dead letter",
  permission: "operations",
  show(context) {
    const { id } = context.params;
    const at = `${PATH}/${id}`;
    const body = h("div", { class: "stack" });
    const head = h("span");
    const again = () => askReplay(PATH, { ids: [id] }, "this dead letter", TOUCHED);
    const acts = [
      button("search", "Dry run", () => askDryRun(PATH, [id], again)),
      button("check", "Dismiss", () => askDismiss(at)),
      button("retry", "Replay", again, { class: "primary" }),
    ];
    const draw = redrawn(body, drawnLetter);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [h("code", null, one.task), " ", badge(one.status)]);
    const state = h("div");
    const stop = watch(query(["dead-letters", id], ({ signal }) => api.get(at, { signal })), (result) => {
      const isGone = result.error?.status === 404 && result.data !== undefined;
      replace(state, isGone ? empty("It is owed again", "The letter is gone from here; if it fails again it comes back.") : result.error || !result.data ? shown(result, () => null) : null);
      acts.forEach((each) => {
        each.hidden = isGone || !result.data;
      });
      if (result.data) {
        drawHead(result.data);
        draw(result.data);
      }
    });
    return { node: h("section", null, heading(head, acts, { path: AT, label: "Dead letters" }), state, body), stop };
  },
};

function drawnLetter(/** @type {any} */ one) {
  return [
    panel("Why it was given up", h("pre", { class: "error-text", tabindex: "0" }, one.error ?? "It killed its worker each time.")),
    panel(
      "Details",
      facts([
        ["Failures", count(one.failures)],
        ["Starts", count(one.starts)],
        ["Given up", time(one.died_at, { isFull: true })],
        ["Owed", time(one.created_at, { isFull: true })],
        ["Request", one.request_id ? h("code", null, one.request_id) : null],
        ["Company", one.company_id ? h("code", null, one.company_id) : "none"],
        ...Object.entries(one.concerns).map(([name, id]) => /** @type {[string, any]} */ ([words(name), [aboutOf(name, String(id)), " ", h("code", { class: "quiet" }, id)]])),
      ]),
    ),
    one.acts.length ? panel("What was done about it", actsDone(one.acts)) : null,
  ];
}

/** Return what operators did, as a list. */
export function actsDone(/** @type {any[]} */ acts) {
  return h(
    "ol",
    { class: "plain-list" },
    acts.map((act) => h("li", null, h("strong", null, words(act.action)), " ", time(act.at), act.note ? h("div", { class: "quiet" }, act.note) : null)),
  );
}

async function askDismiss(/** @type {string} */ at) {
  await confirm({
    title: "Dismiss this dead letter?",
    consequences: h("p", null, "It says that nothing is to be done about it. It is kept with your note, and can still be replayed."),
    fields: [field("Why", textarea({ name: "note", required: true, maxlength: 2000 }))],
    submit: "Dismiss",
    act: async ({ note }) => {
      await api.post(`${at}/dismiss`, { note });
      toast("Dismissed.", { tone: "good" });
      invalidate(["dead-letters"]);
    },
  });
  refocus();
}
