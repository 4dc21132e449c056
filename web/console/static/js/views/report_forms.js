/** The dialogs in which a report is asked for, now or by the clock. */

import { api, newAct } from "../api.js";
import { h, newId, replace } from "../dom.js";
import { today, words } from "../format.js";
import { plusDays } from "../charts/periods.js";
import { invalidate } from "../query.js";
import { can, companyId } from "../session.js";
import { confirm } from "../ui/dialog.js";
import { field, input, select } from "../ui/forms.js";
import { toast } from "../ui/toasts.js";

/** @type {Record<string, string>} */
export const TYPES = { revenue: "Revenue", usage: "Usage", custom: "Own question" };
/** @type {Record<string, string>} */
export const PERIODS = {
  yesterday: "Yesterday",
  last_7_days: "The last 7 days",
  last_30_days: "The last 30 days",
  last_90_days: "The last 90 days",
  previous_week: "The week before",
  previous_month: "The month before",
  previous_year: "The year before",
  month_to_date: "This month so far",
  year_to_date: "This year so far",
};
/** @type {[string, string][]} */
const TIMES = [
  ["date", "Days"],
  ["week", "Weeks"],
  ["month", "Months"],
];
/** @type {[string, string][]} */
const CLOCKS = [
  ["0 7 * * *", "Every day at 07:00"],
  ["0 7 * * 1", "Every Monday at 07:00"],
  ["0 7 1 * *", "On the first of each month at 07:00"],
  ["own", "As written below"],
];
const OWN = "own";

/** @type {Record<string, string>} */
const FIGURES = { mrr: "MRR", arr: "ARR", mrr_churned: "MRR churned" };

/** Return a metric of the API as people call it. */
export function figureName(/** @type {string} */ name) {
  return FIGURES[name] ?? words(name);
}

/** @typedef {import("../ui/forms.js").Field} Field */

/**
 * Return boxes of which several can be chosen, as one field.
 *
 * @param {string} name @param {string} label
 * @param {[string, string][]} options
 * @param {() => boolean} isNeeded
 * @returns {Field}
 */
function choices(name, label, options, isNeeded) {
  const id = newId("choices");
  const error = h("p", { class: "field-error", id: `${id}-error`, hidden: true });
  const boxes = options.map(([value, text]) => field(text, input({ type: "checkbox", value })));
  const chosen = () => boxes.filter(({ control }) => control.checked).map(({ control }) => control.value);
  return {
    node: h("fieldset", { class: "choices-field", "aria-describedby": `${id}-error` }, h("legend", null, label), h("div", null, boxes.map((each) => each.node)), error),
    name,
    control: {
      type: "boxes",
      get value() {
        return chosen().join(",");
      },
      validationMessage: "Choose at least one.",
      checkValidity: () => !isNeeded() || chosen().length > 0,
      focus: () => boxes[0].control.focus(),
    },
    setError(message) {
      error.hidden = !message;
      replace(error, message ?? "");
    },
  };
}

/** Return the metrics that one's own question may be about; none where nobody can tell. */
async function figures() {
  try {
    return (await api.get("/metrics")).data;
  } catch {
    return [];
  }
}

/** What both dialogs ask: of what, over which days, by what. */
function questionFields(/** @type {any[]} */ metrics, /** @type {boolean} */ moves) {
  const kind = field("What", select({ name: "report_type" }, Object.entries(TYPES).filter(([each]) => each !== "custom" || metrics.length > 0)));
  const isCustom = () => kind.control.value === "custom";
  const name = field("Name", input({ name: "report_name", maxlength: 255, required: moves, placeholder: moves ? "" : "Revenue" }));
  const period = field("Days", select({ name: "query.period", value: "last_30_days" }, [...Object.entries(PERIODS), ...(moves ? [] : [/** @type {[string, string]} */ ([OWN, "Own dates"])])]));
  const from = field("From", input({ type: "date", name: "query.from", value: plusDays(today(), -29) }));
  const to = field("To", input({ type: "date", name: "query.to", value: today() }));
  const by = field("In", select({ name: "query.granularity" }, TIMES));
  const currency = field("Only in the currency", input({ name: "query.currency", maxlength: 3, pattern: "[A-Za-z]{3}", placeholder: "All" }), { hint: "Such as EUR. Amounts stand in the currency in which they were paid." });
  const chosen = choices("query.metrics", "Figures", metrics.map((each) => [each.name, figureName(each.name)]), isCustom);
  const parts = choices("query.dimensions", "A row for each", [["currency", "Currency"], ["dimension", "Module, step or reason"]], () => false);
  const all = can("operations") ? field("Over all companies", input({ type: "checkbox", name: "all_companies", checked: companyId() === null, disabled: companyId() === null })) : null;

  function fit() {
    const isOwn = period.control.value === OWN;
    from.node.hidden = !isOwn;
    to.node.hidden = !isOwn;
    chosen.node.hidden = !isCustom();
    parts.node.hidden = !isCustom();
    currency.node.hidden = kind.control.value === "usage";
  }
  for (const each of [kind, period]) {
    each.control.addEventListener("change", fit);
  }
  fit();
  return [kind, name, period, from, to, by, chosen, parts, currency, all].filter((each) => each !== null);
}

/** @param {Record<string, any>} values */
function questionOf(values) {
  const isOwn = values["query.period"] === OWN;
  const days = isOwn ? { from: values["query.from"], to: values["query.to"] } : { period: values["query.period"] };
  const currency = String(values["query.currency"] ?? "").toUpperCase();
  return {
    report_type: values.report_type,
    ...(values.report_name ? { report_name: values.report_name } : {}),
    query: { ...days, ...(values.report_type === "custom" ? customOf(values, currency) : readyOf(values, currency)) },
    ...(can("operations") ? { all_companies: Boolean(values.all_companies) } : {}),
  };
}

/** @param {Record<string, any>} values @param {string} currency */
function readyOf(values, currency) {
  const granularity = values["query.granularity"] === "date" ? "day" : values["query.granularity"];
  return { granularity, ...(currency && values.report_type === "revenue" ? { currency } : {}) };
}

/** @param {Record<string, any>} values @param {string} currency */
function customOf(values, currency) {
  const listed = (/** @type {string} */ text) => (text ? text.split(",") : []);
  return {
    metrics: listed(values["query.metrics"]),
    dimensions: [values["query.granularity"], ...listed(values["query.dimensions"])],
    ...(currency ? { filters: [{ field: "currency", op: "eq", value: currency }] } : {}),
  };
}

/** Ask for a report, and go to it. */
export async function askReport(/** @type {import("../router.js").Context} */ context) {
  const act = newAct();
  const data = await figures();
  await confirm({
    title: "Ask for a report",
    consequences: h("p", null, "It is made in a moment, kept for 90 days, and can be taken as a file. The same question within an hour has the same answer."),
    fields: questionFields(data, false),
    submit: "Ask",
    act: async (values) => {
      const made = await api.post("/reports", questionOf(values), { act });
      invalidate(["reports"]);
      context.navigate(`/analytics/reports/${made.id}`);
    },
  });
}

/** Have a report made by the clock. */
export async function askSchedule() {
  const act = newAct();
  const data = await figures();
  const clock = field("When", select({ name: "clock" }, CLOCKS));
  const cron = field("Cron", input({ name: "cron", value: "0 7 * * *" }), { hint: "Minute, hour, day of the month, month, day of the week; on the clock of the company." });
  const mail = field("Send a mail with a link", input({ type: "checkbox", name: "mail", checked: true }));
  const fit = () => {
    cron.node.hidden = clock.control.value !== OWN;
  };
  clock.control.addEventListener("change", fit);
  fit();
  await confirm({
    title: "Schedule a report",
    consequences: h("p", null, "It is made by the clock, each time of the days that are over then."),
    fields: [...questionFields(data, true), clock, cron, mail],
    submit: "Schedule",
    act: async (values) => {
      const asked = { ...questionOf(values), cron: values.clock === OWN ? values.cron : values.clock, mail: Boolean(values.mail) };
      await api.post("/report-schedules", asked, { act });
      toast("It is scheduled.", { tone: "good" });
      invalidate(["report-schedules"]);
    },
  });
}

/** Return a cron in words, where it is one of the usual. */
export function clockText(/** @type {string} */ cron) {
  return CLOCKS.find(([each]) => each === cron)?.[1] ?? cron;
}
