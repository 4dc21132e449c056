/** One endpoint: how it does, what it was told, and what can be done about it. */

import { api, newAct } from "../api.js";
import { h, replace } from "../dom.js";
import { count, dateTime, time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { href } from "../router.js";
import { can } from "../session.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, input } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { PATH, fieldsOf, state, tellSecret, typed } from "./endpoints.js";
import { button, facts, heading, listing, panel, redrawn, refocus } from "./parts.js";
import { named } from "./words.js";

const STATUSES = ["owed", "delivering", "delivered", "failed", "canceled"];
const BACK = { path: PATH, label: "Endpoints" };
/** @type {Record<string, string>} */
const WHY = {
  asked: "Somebody disabled it.",
  gone: "It answered that it is gone (410).",
  failing: "It did nothing but fail for days.",
};

/** @type {import("../router.js").View} */
export const endpoint = {
  path: `${PATH}/:id`,
  title: "Endpoint",
  needsCompany: true,
  permission: "endpoints:read",
  show(context) {
    const { id } = context.params;
    const head = h("span", { class: "wrap" });
    const acts = h("span", { class: "actions" });
    const told = h("div");
    const details = h("div");
    const draw = redrawn(details, drawnDetails);
    const drawHead = redrawn(head, (/** @type {any} */ one) => [host(one.url), " ", state(one)]);
    const drawActs = redrawn(acts, (/** @type {any} */ one) => (can("endpoints:write") ? actsOf(one, context) : null));
    const list = listing({
      context,
      key: ["endpoints", id, "deliveries"],
      path: `${PATH}/${id}/deliveries`,
      filters: [{ name: "status", label: "Status", options: STATUSES.map((each) => [each, named(each)]) }],
      table: {
        caption: "Deliveries",
        columns: [
          { label: "Event", isHeader: true, cell: (each) => h("code", null, each.type) },
          { label: "Status", cell: (each) => badge(each.status) },
          { label: "Answer", cell: answer },
          { label: "Attempts", isNumber: true, cell: (each) => count(each.attempts) },
          { label: "Next", cell: (each) => (each.next_attempt_at ? dateTime(each.next_attempt_at) : "—") },
          { label: "Announced", cell: (each) => time(each.created_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${PATH}/deliveries/${each.id}`),
        empty: () => empty("Nothing was sent", "What happens from now on is shown here for 30 days. Send a test event to see one."),
      },
    });
    const stop = watch(query(["endpoints", id], ({ signal }) => api.get(`${PATH}/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      if (result.data) {
        context.setTitle(host(result.data.url));
        drawHead(result.data);
        drawActs(result.data);
        draw(result.data);
      }
    });
    const refresh = button("refresh", "Look again", () => invalidate(["endpoints", id]));
    const sent = panel("Deliveries", list.form, h("p", null, refresh), list.rows);
    const node = h("section", null, heading(head, acts, BACK), told, h("div", { class: "stack" }, panel("Details", details), sent));
    return {
      node,
      stop() {
        stop();
        list.stop();
      },
    };
  },
};

/** @type {import("../router.js").View} */
export const delivery = {
  path: `${PATH}/deliveries/:id`,
  title: "Delivery",
  needsCompany: true,
  permission: "endpoints:read",
  show(context) {
    const { id } = context.params;
    const head = h("span");
    const told = h("div");
    const body = h("div", { class: "stack" });
    const resend = button("retry", "Send again", async () => {
      await api.post(`${PATH}/deliveries/${id}/resend`);
      toast("It is sent again.", { tone: "good" });
      invalidate(["endpoints"]);
    });
    const refresh = button("refresh", "Look again", () => invalidate(["endpoints", "delivery", id]));
    const drawHead = redrawn(head, (/** @type {any} */ one) => [h("code", null, one.type), " ", badge(one.status)]);
    const draw = redrawn(body, drawnDelivery);
    const stop = watch(query(["endpoints", "delivery", id], ({ signal }) => api.get(`${PATH}/deliveries/${id}`, { signal })), (result) => {
      replace(told, result.error || !result.data ? shown(result, () => null) : null);
      resend.hidden = !result.data || !can("endpoints:write");
      if (result.data) {
        drawHead(result.data);
        draw(result.data);
      }
    });
    return { node: h("section", null, heading(head, [refresh, resend], BACK), told, body), stop };
  },
};

function host(/** @type {string} */ url) {
  return new URL(url).host;
}

function answer(/** @type {any} */ each) {
  return each.error ?? (each.status_code ? `Answered ${each.status_code}` : h("span", { class: "quiet" }, "—"));
}

function drawnDetails(/** @type {any} */ one) {
  return facts([
    ["Address", h("span", { class: "wrap" }, one.url)],
    ["Events", h("code", { class: "wrap" }, one.events.join(", "))],
    ["Description", one.description],
    ["Hears", one.company_id ? "This company" : "All companies"],
    ["Disabled", one.disabled_at ? [time(one.disabled_at, { isFull: true }), ". ", WHY[one.disabled_reason] ?? words(one.disabled_reason)] : null],
    ["Failing since", one.failing_since ? time(one.failing_since, { isFull: true }) : null],
    ["The old secret signs until", one.previous_secret_until ? time(one.previous_secret_until, { isFull: true }) : null],
    ["Added", time(one.created_at, { isFull: true })],
  ]);
}

function drawnDelivery(/** @type {any} */ one) {
  return [
    panel(
      "Details",
      facts([
        ["webhook-id", h("code", { class: "wrap" }, one.webhook_id)],
        ["Answer", answer(one)],
        ["It said", one.response ? h("pre", { class: "error-text", tabindex: "0" }, one.response) : null],
        ["Next attempt", one.next_attempt_at ? dateTime(one.next_attempt_at) : null],
        ["Announced", time(one.created_at, { isFull: true })],
      ]),
    ),
    panel("Attempts", one.made.length ? h("ol", { class: "plain-list" }, one.made.map(attempt)) : h("p", { class: "quiet" }, "None yet.")),
    panel("What is sent", h("pre", { class: "error-text", tabindex: "0" }, one.payload)),
  ];
}

function attempt(/** @type {any} */ each) {
  const took = each.duration_ms === null ? null : `, ${count(each.duration_ms)} ms`;
  return h("li", null, dateTime(each.started_at), ": ", each.ended_at ? answer(each) : "under way", took);
}

/** @param {any} one @param {import("../router.js").Context} context */
function actsOf(one, context) {
  const path = `${PATH}/${one.id}`;
  const isEnabled = one.status === "enabled";
  return [
    isEnabled
      ? button("bolt", "Send a test", async () => {
          await api.post(`${path}/test`);
          toast("A test event is sent.", { tone: "good" });
          invalidate(["endpoints"]);
        })
      : null,
    isEnabled ? button("retry", "Send again…", () => askResend(path)) : null,
    button("invoice", "Change", () => askChange(path, one)),
    button("refresh", "Rotate the secret", () => askRotate(path)),
    button(isEnabled ? "close" : "check", isEnabled ? "Disable" : "Enable", async () => {
      await api.patch(path, { status: isEnabled ? "disabled" : "enabled" });
      invalidate(["endpoints"]);
      refocus();
    }),
    button("dead", "Delete", () => askDelete(path, context), { class: "danger" }),
  ];
}

async function askChange(/** @type {string} */ path, /** @type {any} */ one) {
  await confirm({
    title: "Change this endpoint",
    consequences: null,
    fields: fieldsOf(one),
    submit: "Change",
    act: async (values) => {
      await api.patch(path, typed(values));
      invalidate(["endpoints"]);
    },
  });
  refocus();
}

async function askRotate(/** @type {string} */ path) {
  const act = newAct();
  /** @type {any} */
  let made = null;
  await confirm({
    title: "Make a new secret?",
    consequences: h("p", null, "The old one signs too for 24 hours. After that only the new one does."),
    submit: "Rotate",
    act: async () => {
      made = await api.post(`${path}/rotate-secret`, {}, { act });
    },
  });
  if (made) {
    invalidate(["endpoints"]);
    await tellSecret(made.secret);
  }
}

async function askResend(/** @type {string} */ path) {
  const act = newAct();
  await confirm({
    title: "Send again what was missed?",
    consequences: h("p", null, "All that failed or was canceled since then is sent again, under the same webhook-id."),
    fields: [field("Since", input({ name: "since", type: "datetime-local", required: true }))],
    submit: "Send again",
    act: async ({ since }) => {
      const { resent, left } = await api.post(`${path}/resend`, { since: new Date(since).toISOString() }, { act });
      toast(`${count(resent)} are sent again${left ? `, ${count(left)} are left: ask again` : ""}.`, { tone: "good" });
      invalidate(["endpoints"]);
    },
  });
  refocus();
}

async function askDelete(/** @type {string} */ path, /** @type {import("../router.js").Context} */ context) {
  const isDone = await confirm({
    title: "Delete this endpoint?",
    consequences: h("p", null, "It is told nothing any more, and what it was told is not shown. This cannot be taken back."),
    submit: "Delete",
    tone: "danger",
    act: () => api.delete(path),
  });
  if (isDone) {
    invalidate(["endpoints"]);
    context.navigate(PATH);
  }
}
