/** One module: whether the company has it, how much of it is used, and what there is left. */

import { api } from "../api.js";
import { h, replace, svg } from "../dom.js";
import { count, date, dateTime, time } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { can } from "../session.js";
import { confirm } from "../ui/dialog.js";
import { empty, shown } from "../ui/states.js";
import { table } from "../ui/table.js";
import { toast } from "../ui/toasts.js";
import { LIMITS, PATH, limitFields, limitText, limitsOf, state } from "./modules.js";
import { button, facts, heading, panel, redrawn, refocus } from "./parts.js";

const BACK = { path: PATH, label: "Modules" };
const HEIGHT = 56;

/** @type {import("../router.js").View} */
export const module = {
  path: `${PATH}/:id`,
  title: "Module",
  needsCompany: true,
  permission: "modules:read",
  show(context) {
    const { id } = context.params;
    const head = h("span", { class: "wrap" });
    const acts = h("span", { class: "actions" });
    const told = h("div");
    const details = h("div");
    const used = h("div");
    const periods = table({
      caption: "Periods before",
      columns: [
        { label: "From", isHeader: true, cell: (each) => date(each.start) },
        { label: "To", cell: (each) => date(each.end) },
        { label: "Used", isNumber: true, cell: (each) => count(each.used) },
        { label: "Warned", cell: (each) => time(each.warned_at) },
        { label: "Critical", cell: (each) => time(each.critical_at) },
      ],
      rowKey: (each) => each.start,
      empty: () => empty("No period before this one", "Each is kept here when it is over."),
    });
    const drawHead = redrawn(head, (/** @type {any} */ one) => [one.name, " ", state(one)]);
    const drawActs = redrawn(acts, actsOf);
    const drawDetails = redrawn(details, drawnDetails);
    const drawUse = redrawn(used, drawnUse);
    const stopModule = watch(query(["modules", id], ({ signal }) => api.get(`${PATH}/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      if (result.data) {
        context.setTitle(result.data.name);
        drawHead(result.data);
        drawActs(result.data);
        drawDetails(result.data);
      }
    });
    const stopUse = watch(query(["modules", id, "usage"], ({ signal }) => api.get(`${PATH}/${id}/usage`, { signal })), (result) => {
      periods.show({ ...result, data: result.data && { data: result.data.history, next_cursor: null } });
      if (result.data) {
        drawUse(result.data);
      }
    });
    const refresh = button("refresh", "Look again", () => invalidate(["modules", id]));
    const body = h("div", { class: "stack" }, panel("Use in this period", used, h("p", null, refresh)), panel("Details", details), panel("Periods before", periods.node));
    return {
      node: h("section", null, heading(head, acts, BACK), told, body),
      stop() {
        stopModule();
        stopUse();
      },
    };
  },
};

function drawnDetails(/** @type {any} */ one) {
  const { limits } = one.taken ?? one;
  return facts([
    ["Code", h("code", null, one.code)],
    ["Description", one.description],
    ["Counted in", one.unit],
    ["Subscribed", one.taken && time(one.taken.subscribed_at, { isFull: true })],
    ...LIMITS.map(([name, label]) => /** @type {[string, string]} */ ([label, limitText(limits[name])])),
    ...Object.entries(one.details ?? {}),
  ]);
}

function drawnUse(/** @type {any} */ usage) {
  const { period, limits, unit } = usage;
  const most = limits.hard_limit ?? limits.critical_at ?? limits.warning_at;
  const of = limits.hard_limit === null ? "" : ` of ${count(limits.hard_limit)}`;
  const said = `${count(period.used)}${of}${unit ? ` ${unit}` : ""} used`;
  return h(
    "div",
    { class: "stack" },
    h("p", { class: "used" }, h("strong", null, said), period.remaining === null ? null : h("span", { class: "quiet" }, ` ${count(period.remaining)} left`)),
    most === null ? null : gauge(period.used, most, limits, said),
    h("p", { class: "quiet" }, `From ${dateTime(period.start)} to ${dateTime(period.end)}; days are those of ${usage.time_zone}.`),
    period.critical_at ? h("p", null, "Told to be critical ", time(period.critical_at)) : period.warned_at ? h("p", null, "Warned of ", time(period.warned_at)) : null,
    dayBars(usage.days),
  );
}

/** Draw how much is used of the most, with a mark at each threshold. */
function gauge(/** @type {number} */ used, /** @type {number} */ most, /** @type {Record<string, number | null>} */ limits, /** @type {string} */ said) {
  const part = (/** @type {number} */ value) => `${Math.min(100, (value / most) * 100).toFixed(2)}%`;
  const tone = [["critical_at", "bad"], ["warning_at", "warn"]].find(([name]) => limits[name] !== null && used >= Number(limits[name]))?.[1] ?? "good";
  return svg(
    "svg",
    { role: "img", "aria-label": said, class: "gauge", width: "100%", height: 14 },
    svg("rect", { x: 0, y: 2, width: "100%", height: 10, rx: 5, class: "gauge-whole" }),
    used > 0 && svg("rect", { x: 0, y: 2, width: part(used), height: 10, rx: 5, class: `gauge-used ${tone}` }),
    LIMITS.filter(([name]) => limits[name] !== null && Number(limits[name]) < most).map(([name, label]) => {
      const at = part(Number(limits[name]));
      return svg("g", {}, svg("title", {}, `${label} ${limitText(limits[name])}`), svg("line", { x1: at, x2: at, y1: 0, y2: 14, class: "gauge-mark" }));
    }),
  );
}

/** Draw what was used each day. */
function dayBars(/** @type {{day: string, used: number}[]} */ days) {
  const most = Math.max(...days.map(({ used }) => used), 0);
  const wide = 100 / days.length;
  const total = days.reduce((sum, { used }) => sum + used, 0);
  const label = most > 0 ? `Used on each of ${days.length} days, ${count(total)} in all, ${count(most)} on the day of most` : `Nothing was used on these ${days.length} days`;
  return svg(
    "svg",
    { role: "img", "aria-label": label, class: "bars", width: "100%", height: HEIGHT },
    svg("line", { x1: 0, x2: "100%", y1: HEIGHT - 1, y2: HEIGHT - 1, class: "bars-line" }),
    days.map(({ day, used }, number) => {
      const x = `${(number * wide + wide * 0.15).toFixed(2)}%`;
      const width = `${(wide * 0.7).toFixed(2)}%`;
      const height = used > 0 ? Math.max(2, Math.round((used / most) * (HEIGHT - 4))) : 0;
      return svg(
        "g",
        {},
        svg("title", {}, `${date(day)}: ${count(used)}`),
        svg("rect", { x, width, y: 0, height: HEIGHT, class: "bars-touch" }),
        height > 0 && svg("rect", { x, width, y: HEIGHT - 1 - height, height, rx: 1.5, class: "bar-paid" }),
      );
    }),
  );
}

function actsOf(/** @type {any} */ one) {
  if (!can("modules:write")) {
    return null;
  }
  if (!one.taken) {
    return one.is_active ? button("plus", "Subscribe", () => subscribe(one), { class: "primary" }) : null;
  }
  return [
    button("alert", "Set limits", () => askLimits(one)),
    one.taken.subscription_id ? null : button("close", "Unsubscribe", () => askUnsubscribe(one)),
  ];
}

async function subscribe(/** @type {any} */ one) {
  await api.post(`${PATH}/${one.id}/subscribe`);
  toast(`The company has ${one.name} from now on.`, { tone: "good" });
  invalidate(["modules"]);
  refocus();
}

async function askUnsubscribe(/** @type {any} */ one) {
  await confirm({
    title: `Unsubscribe from ${one.name}?`,
    consequences: h("p", null, "The company has it no more from now on, and no more use of it is taken. What was used stays counted."),
    submit: "Unsubscribe",
    tone: "danger",
    act: async () => {
      await api.post(`${PATH}/${one.id}/unsubscribe`);
      toast(`The company has ${one.name} no more.`, { tone: "good" });
      invalidate(["modules"]);
    },
  });
  refocus();
}

async function askLimits(/** @type {any} */ one) {
  const which = can("catalogue:write") ? LIMITS : LIMITS.filter(([name]) => name !== "hard_limit");
  await confirm({
    title: `Limits of ${one.name}`,
    consequences: h("p", null, "They hold for this company alone, from the next use on."),
    fields: limitFields(one.taken.limits, which),
    submit: "Set",
    act: async (values) => {
      await api.patch(`${PATH}/${one.id}/limits`, limitsOf(values));
      toast("The limits are set.", { tone: "good" });
      invalidate(["modules"]);
    },
  });
  refocus();
}
