/** Reconciliations: whether the provider's book says what ours says, run by run, and how it went over days. */

import { api, newAct } from "../api.js";
import { saveBlob } from "../charts/csv.js";
import { plusDays, spanText } from "../charts/periods.js";
import { h, replace } from "../dom.js";
import { count, dateTime, time, today, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, input, select } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { breaksOf } from "./breaks.js";
import { AT, frame } from "./operations.js";
import { again, button, facts, heading, listing, panel, redrawn, seen } from "./parts.js";
import { trend } from "./trend.js";
import { named } from "./words.js";

const API = "/reconciliations";
const PATH = `${AT}/reconciliations`;
const BACK = { path: PATH, label: "Reconciliation" };
/** @type {Record<string, [string, string]>} */
const STATES = { running: ["Running", "busy"], done: ["Done", "good"], failed: ["Failed", "bad"] };
/** @type {Record<string, string>} */
const PHASES = {
  charges: "charges",
  refunds: "refunds",
  disputes: "disputes",
  customers: "customers",
  suspects: "what did not match, once more",
  open: "breaks that were open before",
};

/** @type {import("../router.js").View} */
export const reconciliations = {
  path: PATH,
  title: "Reconciliation",
  permission: "operations",
  show(context) {
    const days = trend(context.signal);
    const waiting = again(["reconciliations"]);
    const list = listing({
      context,
      key: ["reconciliations"],
      path: API,
      filters: [],
      // Of two providers a month: the chart tells of all of them.
      always: { limit: 100 },
      onResult: (result) => {
        waiting.set(Boolean(result.data?.data.some(isUnderWay)));
        days.show(seen(result));
      },
      table: {
        caption: "Runs",
        columns: [
          { label: "Days", isHeader: true, cell: (each) => daysOf(each) },
          { label: "Provider", cell: (each) => named(each.provider) },
          { label: "Status", cell: state },
          { label: "Agree", isNumber: true, cell: (each) => count(each.matched) },
          { label: "Breaks opened", isNumber: true, cell: opened },
          { label: "Closed", isNumber: true, cell: (each) => count(each.closed) },
          { label: "Begun", cell: (each) => time(each.created_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/${each.id}`),
        empty: () => empty("Nothing was compared yet", "Each provider is compared every day. Start a run to compare days of your choice now."),
      },
    });
    const start = h("p", { class: "actions" }, button("plus", "Start a run", () => askStart(context), { class: "primary" }));
    return {
      node: frame(PATH, h("div", { class: "stack" }, start, days.node, list.rows)),
      stop() {
        waiting.set(false);
        list.stop();
      },
    };
  },
};

/** @type {import("../router.js").View} */
export const reconciliation = {
  path: `${PATH}/:id`,
  title: "Run",
  permission: "operations",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const told = h("div");
    const details = h("div");
    const draw = redrawn(details, drawnRun);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [named(one.provider), " ", state(one)]);
    const found = breaksOf(context, { run_id: id }, "What this run has seen");
    const waiting = again(["reconciliations", id]);
    const stop = watch(query(["reconciliations", id], ({ signal }) => api.get(`${API}/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      const isOn = Boolean(result.data && isUnderWay(result.data));
      if (waiting.set(isOn) && !isOn) {
        invalidate(["breaks"]);
      }
      if (result.data) {
        context.setTitle(`${named(result.data.provider)}, ${daysOf(result.data)}`);
        drawHead(result.data);
        draw(result.data);
      }
    });
    const file = button("download", "Save the breaks as CSV", async () => saveBlob(await api.file(`${API}/${id}/breaks.csv`), `breaks-${id}.csv`));
    const node = h("section", null, heading(head, file, BACK), told, h("div", { class: "stack" }, panel("How far it is", details), panel("Breaks", found.form, found.rows)));
    return {
      node,
      stop() {
        waiting.set(false);
        found.stop();
        stop();
      },
    };
  },
};

function isUnderWay(/** @type {any} */ each) {
  return each.status === "running";
}

function state(/** @type {any} */ each) {
  const [text, tone] = STATES[each.status] ?? [words(each.status), "calm"];
  return badge(each.status, { text, tone });
}

/** The days of its window in UTC, whose end does not belong to it. */
function daysOf(/** @type {any} */ { starts_at: from, ends_at: to }) {
  return spanText(new Date(from).toISOString().slice(0, 10), new Date(Date.parse(to) - 1).toISOString().slice(0, 10));
}

function opened(/** @type {any} */ each) {
  return each.opened > 0 ? h("strong", null, count(each.opened)) : count(each.opened);
}

function drawnRun(/** @type {any} */ one) {
  return [
    isUnderWay(one) ? h("p", { role: "status" }, h("progress", { "aria-label": "How far it is" }), ` At the ${PHASES[one.phase] ?? one.phase}; ${count(one.provider_rows)} read`) : null,
    one.waiting_for ? h("p", { class: "told warn" }, h("span", { class: "wrap" }, one.waiting_for, one.waiting_until ? [" It goes on ", time(one.waiting_until), "."] : null)) : null,
    one.error ? h("p", { class: "told bad" }, h("span", { class: "wrap" }, one.error)) : null,
    facts([
      ["Days", daysOf(one)],
      [`Read from ${named(one.provider)}`, count(one.provider_rows)],
      ["Read from ours", count(one.our_rows)],
      ["Agree", count(one.matched)],
      ["Asked about once more", count(one.suspects)],
      ["Breaks seen", count(one.confirmed)],
      ["Breaks opened", count(one.opened)],
      ["Breaks closed", count(one.closed)],
      ["Begun", dateTime(one.created_at)],
      ["By", one.asked_by ? "An operator" : "The clock"],
      ["Ended", one.finished_at ? dateTime(one.finished_at) : "—"],
    ]),
  ];
}

async function askStart(/** @type {import("../router.js").Context} */ context) {
  const act = newAct();
  await confirm({
    title: "Compare with a provider",
    consequences: h("p", null, "What the provider has of these days is compared with what we have. Nothing is charged or refunded by it."),
    fields: [
      field("Provider", select({ name: "provider" }, [["stripe", "Stripe"], ["paypal", "PayPal"]])),
      field("From", input({ type: "date", name: "start_date", required: true, value: plusDays(today(), -1), max: today() })),
      field("To", input({ type: "date", name: "end_date", value: "", max: today() }), { hint: "Days are those of UTC. Left empty: until now." }),
    ],
    submit: "Start",
    act: async (values) => {
      const asked = { provider: values.provider, start_date: values.start_date, ...(values.end_date ? { end_date: values.end_date } : {}) };
      const made = await api.post(API, asked, { act });
      toast("The run is started.", { tone: "good" });
      invalidate(["reconciliations"]);
      context.navigate(`${PATH}/${made.id}`);
    },
  });
}
