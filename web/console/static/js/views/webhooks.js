/** Stored webhook events: what came, what became of it, and having it handled again. */

import { api } from "../api.js";
import { h, replace } from "../dom.js";
import { count, time } from "../format.js";
import { query, watch } from "../query.js";
import { href } from "../router.js";
import { badge } from "../ui/badge.js";
import { empty, shown } from "../ui/states.js";
import { actsDone } from "./letters.js";
import { AT, frame } from "./operations.js";
import { button, facts, heading, listing, panel, redrawn } from "./parts.js";
import { askDryRun, askReplay } from "./replay.js";
import { named, shortId } from "./words.js";

const PATH = "/operations/events";
const TOUCHED = ["webhook-events", "payments", "dead-letters"];
const STATUSES = ["received", "processing", "completed", "failed", "ignored", "refused"];

/** @type {import("../router.js").View} */
export const events = {
  path: `${AT}/events`,
  title: "Webhook events",
  permission: "operations",
  show(context) {
    const list = listing({
      context,
      key: ["webhook-events"],
      path: PATH,
      filters: [
        { name: "type", label: "Type", placeholder: "charge.refunded" },
        { name: "status", label: "Status", options: STATUSES.map((each) => [each, named(each)]) },
        { name: "provider", label: "Provider", options: ["stripe", "paypal"].map((each) => [each, named(each)]) },
      ],
      table: {
        caption: "Webhook events",
        columns: [
          { label: "Type", isHeader: true, cell: (each) => h("code", null, each.type) },
          { label: "Status", cell: (each) => badge(each.status) },
          { label: "Why", cell: (each) => each.error ?? h("span", { class: "quiet" }, "—") },
          { label: "Provider", cell: (each) => named(each.provider) },
          { label: "Payment", cell: (each) => (each.transaction_id ? h("a", { href: href(`/payments/${each.transaction_id}`) }, shortId(each.transaction_id)) : "—") },
          { label: "Received", cell: (each) => time(each.received_at) },
        ],
        rowKey: (each) => each.id,
        rowHref: (each) => href(`${AT}/events/${each.id}`),
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No event fits", "Choose another type or status.")
            : empty("No event has come", "Providers send them to /api/v1/webhooks. See that the address is set up at the provider."),
      },
    });
    return { node: frame(`${AT}/events`, list.form, list.rows), stop: list.stop };
  },
};

/** @type {import("../router.js").View} */
export const event = {
  path: `${AT}/events/:id`,
  title: "Webhook event",
  permission: "operations",
  show(context) {
    const { id } = context.params;
    const again = () => askReplay(PATH, { ids: [id] }, "this event", TOUCHED);
    const head = h("span");
    const state = h("div");
    const body = h("div", { class: "stack" });
    const acts = [button("search", "Dry run", () => askDryRun(PATH, [id], again)), button("retry", "Replay", again, { class: "primary" })];
    const drawHead = redrawn(head, (/** @type {any} */ one) => [h("code", null, one.type), " ", badge(one.status)]);
    const draw = redrawn(body, drawnEvent);
    const stop = watch(query(["webhook-events", id], ({ signal }) => api.get(`${PATH}/${id}`, { signal })), (result) => {
      replace(state, result.error || !result.data ? shown(result, () => null) : null);
      acts.forEach((each) => {
        each.hidden = !result.data;
      });
      if (result.data) {
        drawHead(result.data);
        draw(result.data);
      }
    });
    return { node: h("section", null, heading(head, acts, { path: `${AT}/events`, label: "Webhook events" }), state, body), stop };
  },
};

function drawnEvent(/** @type {any} */ one) {
  return [
    panel(
      "Details",
      facts([
        ["Why", one.error],
        ["Waits", one.waits],
        ["Provider", named(one.provider)],
        ["Provider's id", h("code", null, one.provider_event_id)],
        ["Payment", one.transaction_id ? h("a", { href: href(`/payments/${one.transaction_id}`) }, shortId(one.transaction_id)) : null],
        ["Failures", count(one.failures)],
        ["Received", time(one.received_at, { isFull: true })],
        ["Handled", one.handled_at ? time(one.handled_at, { isFull: true }) : "not yet"],
      ]),
    ),
    one.acts.length ? panel("What was done about it", actsDone(one.acts)) : null,
  ];
}
