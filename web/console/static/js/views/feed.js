/** What happens, as it happens: the newest first. */

import { h, replace } from "../dom.js";
import { money, time } from "../format.js";
import { store } from "../store.js";
import { icon } from "../ui/icons.js";
import { empty } from "../ui/states.js";
import { button, panel } from "./parts.js";
import { aboutOf, happened } from "./words.js";

/** @typedef {import("../events.js").Happening} Happening */

const SHOWN = 25;
/** @type {Record<string, [string, string]>} */
const LOOKS = {
  "payment.started": ["card", "busy"],
  "payment.succeeded": ["check", "good"],
  "payment.failed": ["close", "bad"],
  "invoice.created": ["invoice", "calm"],
  "invoice.updated": ["invoice", "calm"],
  "invoice.paid": ["invoice", "good"],
  "system.alert": ["alert", "warn"],
  "user.online": ["people", "good"],
  "user.offline": ["people", "calm"],
};

/**
 * Return the panel of what happens, and what stops it.
 *
 * @param {(userId: string) => string | null} nameOf
 */
export function feedPanel(nameOf) {
  const list = h("ol", { class: "feed", "aria-label": "What has happened, the newest first" });
  /** @type {Map<string, HTMLElement>} */
  let lines = new Map();
  let isHeld = false;
  // Held, it can be read while much happens; a screen reader goes through it when it likes.
  const hold = button("clock", "Hold", () => {
    isHeld = !isHeld;
    hold.setAttribute("aria-pressed", String(isHeld));
    show();
  }, { class: "plain", "aria-pressed": "false" });

  function show() {
    const { feed, relay } = store.get();
    if (isHeld) {
      return;
    }
    if (feed.length === 0) {
      lines = new Map();
      const advice = relay.state === "live" ? "It appears here the moment it happens." : "The connection is not live yet; it appears here once it is.";
      replace(list, h("li", null, empty("Quiet so far", advice)));
      return;
    }
    const before = lines;
    lines = new Map(feed.slice(0, SHOWN).map((each) => [each.id, before.get(each.id) ?? lineOf(each, nameOf)]));
    replace(list, ...lines.values());
  }
  const stops = [store.subscribe((state) => state.feed, show), store.subscribe((state) => state.relay.state, show)];
  show();
  const node = panel(h("span", null, "Happening now"), list);
  node.classList.add("feed-panel");
  node.querySelector("h2")?.append(hold);
  return { node, stop: () => stops.forEach((stop) => stop()) };
}

/** @param {Happening} event @param {(userId: string) => string | null} nameOf */
function lineOf(event, nameOf) {
  const [name, tone] = LOOKS[event.type] ?? ["bolt", "calm"];
  const to = aboutOf(event.data);
  const text = happened(event);
  return h(
    "li",
    { class: tone },
    icon(name),
    h("span", { class: "feed-text" }, to ? h("a", { href: to }, text) : text, " ", h("span", { class: "quiet" }, moreOf(event, nameOf))),
    h("span", { class: "feed-amount number" }, amountOf(event)),
    h("span", { class: "quiet feed-time" }, time(event.timestamp)),
  );
}

/** @param {Happening} event @param {(userId: string) => string | null} nameOf */
function moreOf({ type, data, user_id: userId }, nameOf) {
  if (type === "system.alert") {
    return data.message ?? "";
  }
  if (type.startsWith("user.")) {
    return nameOf(data.user_id ?? userId) ?? "somebody of the company";
  }
  return data.number ?? data.reason ?? data.message ?? "";
}

function amountOf(/** @type {Happening} */ { data }) {
  const amount = data.refund_status ? null : data.amount;
  return amount && data.currency ? money(amount, data.currency) : null;
}
