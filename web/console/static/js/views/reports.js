/** Reports: asked for, read, taken as a file, and those that the clock asks for. */

import { api } from "../api.js";
import { saveBlob } from "../charts/csv.js";
import { spanText } from "../charts/periods.js";
import { h, replace } from "../dom.js";
import { count, date, dateTime, decimal, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./analytics.js";
import { button, facts, heading, listing, panel, redrawn, refocus } from "./parts.js";
import { PERIODS, TYPES, askReport, askSchedule, clockText, figureName } from "./report_forms.js";

const PATH = `${AT}/reports`;
const SCHEDULES = `${AT}/schedules`;
const AGAIN_MS = 2000;
const MOST_ROWS = 200;
const BACK = { path: PATH, label: "Reports" };
const FILES = /** @type {const} */ (["csv", "json", "parquet"]);
/** @type {Record<string, [string, string]>} */
const STATES = { pending: ["Being made", "busy"], done: ["Done", "good"], failed: ["Failed", "bad"] };

/** @type {import("../router.js").View} */
export const reports = {
  path: PATH,
  title: "Reports",
  permission: "analytics:read",
  show(context) {
    const waiting = again(["reports"]);
    const list = listing({
      context,
      key: ["reports"],
      path: "/reports",
      filters: [{ name: "report_type", label: "What", options: Object.entries(TYPES) }],
      onResult: (result) => waiting.set(Boolean(result.data?.data.some(isPending))),
      table: {
        caption: "Reports",
        columns: [
          { label: "Name", isHeader: true, cell: (each) => each.report_name },
          { label: "What", cell: (each) => TYPES[each.report_type] },
          { label: "Days", cell: days },
          { label: "Status", cell: state },
          { label: "Rows", isNumber: true, cell: (each) => (each.row_count === null ? "—" : count(each.row_count)) },
          { label: "Asked", cell: (each) => time(each.created_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/${each.id}`),
        empty: () => empty("No reports yet", "Ask for revenue, usage, or a question of your own; what comes of it is kept for 90 days."),
      },
    });
    const ask = can("analytics:write") ? button("plus", "Ask for a report", () => askReport(context), { class: "primary" }) : null;
    return {
      node: frame(PATH, ask, list.form, list.rows),
      stop() {
        waiting.set(false);
        list.stop();
      },
    };
  },
};

/** @type {import("../router.js").View} */
export const report = {
  path: `${PATH}/:id`,
  title: "Report",
  permission: "analytics:read",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const acts = h("span", { class: "actions" });
    const told = h("div");
    const body = h("div", { class: "stack" });
    const draw = redrawn(body, drawnReport);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [one.report_name, " ", state(one)]);
    const drawActs = redrawn(acts, (/** @type {any} */ one) => actsOf(one, context));
    const waiting = again(["reports", id]);
    const stop = watch(query(["reports", id], ({ signal }) => api.get(`/reports/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      waiting.set(Boolean(result.data && isPending(result.data)));
      if (result.data) {
        context.setTitle(result.data.report_name);
        drawHead(result.data);
        drawActs(result.data);
        draw(result.data);
      }
    });
    return {
      node: h("section", null, heading(head, acts, BACK), told, body),
      stop() {
        waiting.set(false);
        stop();
      },
    };
  },
};

/** @type {import("../router.js").View} */
export const schedules = {
  path: SCHEDULES,
  title: "Schedules",
  permission: "analytics:read",
  show(context) {
    const isWriter = can("analytics:write");
    const list = listing({
      context,
      key: ["report-schedules"],
      path: "/report-schedules",
      filters: [],
      table: {
        caption: "Schedules",
        columns: [
          { label: "Name", isHeader: true, cell: (each) => each.report_name },
          { label: "What", cell: (each) => TYPES[each.report_type] },
          { label: "Days", cell: (each) => PERIODS[each.query_params.period] ?? "—" },
          { label: "When", cell: (each) => clockText(each.cron) },
          { label: "Next", cell: (each) => (each.next_run_at ? time(each.next_run_at) : badge("paused", { text: "Paused", tone: "calm" })) },
          { label: "Mail", cell: (each) => (each.mail ? "Yes" : "No") },
          { label: "Made", isNumber: true, cell: (each) => count(each.runs) },
          ...(isWriter ? [{ label: "What to do", isHiddenLabel: true, cell: scheduleActs }] : []),
        ],
        rowKey: (each) => each.id,
        empty: () => empty("Nothing is scheduled", "A schedule has a report made by the clock, and sends a mail with a link."),
      },
    });
    const ask = isWriter ? button("plus", "Schedule a report", () => askSchedule(), { class: "primary" }) : null;
    return { node: frame(SCHEDULES, ask, list.rows), stop: list.stop };
  },
};

/** Ask again every other second while something is under way. */
function again(/** @type {string[]} */ key) {
  /** @type {any} */
  let timer = null;
  return {
    set(/** @type {boolean} */ isOn) {
      if (isOn !== (timer !== null)) {
        clearInterval(timer);
        timer = isOn ? setInterval(() => invalidate(key), AGAIN_MS) : null;
      }
    },
  };
}

function isPending(/** @type {any} */ each) {
  return each.status === "pending";
}

function state(/** @type {any} */ each) {
  const [text, tone] = STATES[each.status] ?? [each.status, "calm"];
  return badge(each.status, { text, tone });
}

function days(/** @type {any} */ { query_params: asked }) {
  return asked.from && asked.to ? spanText(asked.from, asked.to) : "—";
}

/** @param {any} one @param {import("../router.js").Context} context */
function actsOf(one, context) {
  const files = FILES.map((kind) => button("download", kind === "parquet" ? "Parquet" : kind.toUpperCase(), async () => saveBlob(await api.file(`/reports/${one.id}.${kind}`), `report-${one.id}.${kind}`)));
  const remove = can("analytics:write") ? button("dead", "Delete", () => askDelete(`/reports/${one.id}`, ["reports"], () => context.navigate(PATH)), { class: "danger" }) : null;
  return [one.status === "done" ? files : null, remove];
}

function drawnReport(/** @type {any} */ one) {
  const asked = one.query_params;
  return [
    one.error ? h("p", { class: "told bad" }, h("span", { class: "wrap" }, one.error)) : null,
    one.results ? panel("What came of it", resultsOf(one)) : null,
    panel(
      "What was asked",
      facts([
        ["What", TYPES[one.report_type]],
        ["Days", days(one)],
        ["Figures", asked.metrics?.map(figureName).join(", ")],
        ["A row for each", asked.dimensions?.map(words).join(", ")],
        ["Only", asked.filters?.map((/** @type {any} */ each) => `${words(each.field)} ${each.op} ${each.value.join(", ")}`).join("; ")],
        ["Of", one.company_id ? "This company" : "All companies"],
        ["Asked", time(one.created_at, { isFull: true })],
        ["Made", one.generated_at ? time(one.generated_at, { isFull: true }) : null],
        ["Kept until", dateTime(one.expires_at)],
      ]),
    ),
  ];
}

function resultsOf(/** @type {any} */ { results: { columns, rows }, is_cut: isCut }) {
  if (rows.length === 0) {
    return empty("There was nothing in these days", "Ask for other days.");
  }
  const isNumber = (/** @type {any} */ column) => column.kind === "number";
  const written = (/** @type {string | null} */ value, /** @type {any} */ column) => {
    if (value === null || value === "") {
      return "—";
    }
    return isNumber(column) ? decimal(value) : column.kind === "date" ? date(value) : value;
  };
  const left = rows.length - MOST_ROWS;
  return [
    h(
      "div",
      { class: "chart-list is-long", tabindex: "0", role: "region", "aria-label": "Rows" },
      h(
        "table",
        null,
        h("caption", { class: "visually-hidden" }, "What came of it"),
        h("thead", null, h("tr", null, columns.map((/** @type {any} */ each) => h("th", { scope: "col", class: isNumber(each) ? "number" : null }, figureName(each.name))))),
        h("tbody", null, rows.slice(0, MOST_ROWS).map((/** @type {any[]} */ row) => h("tr", null, row.map((value, n) => h("td", { class: isNumber(columns[n]) ? "number" : null }, written(value, columns[n])))))),
      ),
    ),
    left > 0 ? h("p", { class: "quiet" }, `and ${count(left)} more rows, which the files have.`) : null,
    isCut ? h("p", { class: "told warn" }, "There would have been more rows than a report may have. Ask for fewer days, or by weeks or months.") : null,
  ];
}

function scheduleActs(/** @type {any} */ one) {
  const path = `/report-schedules/${one.id}`;
  const isActive = one.status === "active";
  return h(
    "div",
    { class: "actions" },
    button(isActive ? "close" : "check", isActive ? "Pause" : "Resume", async () => {
      await api.patch(path, { status: isActive ? "paused" : "active" });
      invalidate(["report-schedules"]);
    }),
    button("dead", "Delete", () => askDelete(path, ["report-schedules"])),
  );
}

/** @param {string} path @param {string[]} key @param {() => void} [then] */
async function askDelete(path, key, then) {
  const isDone = await confirm({
    title: "Delete it?",
    consequences: h("p", null, key[0] === "reports" ? "The report and its files are gone for everybody of the company." : "It is not made any more. The reports that it made stay until they expire."),
    submit: "Delete",
    tone: "danger",
    act: () => api.delete(path),
  });
  if (isDone) {
    toast("It is deleted.");
    invalidate(key);
    then?.();
    refocus();
  }
}
