/**
 * Notices of events: a few words in the corner, and on the desktop for who asked for it.
 *
 * Many at once become one: a notice is for a person to read.
 */

import { h } from "./dom.js";
import { money } from "./format.js";
import { href, link } from "./router.js";
import { openDialog } from "./ui/dialog.js";
import { field, input } from "./ui/forms.js";
import { toast } from "./ui/toasts.js";
import { aboutOf, happened } from "./views/words.js";

/** @typedef {import("./events.js").Happening} Happening */
/** @typedef {"good" | "bad" | "warn" | "calm"} Tone */

const KEY = "paybeat.notices";
const GATHER_MS = 2000;
// As many are told one by one.
const SINGLY = 2;

/** What people are told of, and in which tone. Each is something done, or to be done. */
const NOTICED = /** @type {Record<string, Tone>} */ ({
  "payment.succeeded": "good",
  "payment.failed": "warn",
  "invoice.paid": "good",
  "module.usage_alert": "warn",
  "system.alert": "warn",
});

/** @typedef {{isShown: boolean, isOnDesktop: boolean}} Wishes */

/** @returns {Wishes} */
function wishes() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { isShown: kept.isShown !== false, isOnDesktop: kept.isOnDesktop === true };
  } catch {
    return { isShown: true, isOnDesktop: false };
  }
}

/** @param {Partial<Wishes>} patch */
function wish(patch) {
  localStorage.setItem(KEY, JSON.stringify({ ...wishes(), ...patch }));
}

/** @type {Happening[]} */
let waiting = [];
/** @type {any} */
let timer = null;

/** Tell of these events, the first at once. */
export function notice(/** @type {Happening[]} */ events) {
  const noticed = events.filter((event) => event.type in NOTICED);
  if (noticed.length === 0 || !wishes().isShown) {
    return;
  }
  waiting.push(...noticed);
  if (timer === null) {
    tellAll();
  }
}

/** Tell nothing more of what was heard: another company is followed, or by somebody else. */
export function forgetNotices() {
  waiting = [];
}

function tellAll() {
  timer = null;
  const events = withoutEchoes(waiting);
  waiting = [];
  if (events.length === 0) {
    return;
  }
  if (events.length <= SINGLY) {
    events.forEach(tellOne);
  } else {
    tellMany(events);
  }
  timer = setTimeout(tellAll, GATHER_MS);
}

/** A payment that pays an invoice is told once. */
function withoutEchoes(/** @type {Happening[]} */ events) {
  const paid = new Set(
    events.filter(({ type }) => type === "payment.succeeded").map(({ data }) => data.invoice_id),
  );
  return events.filter(({ type, data }) => type !== "invoice.paid" || !paid.has(data.invoice_id));
}

function tellOne(/** @type {Happening} */ event) {
  const { tone, title, detail } = worded(event);
  const to = aboutOf(event.data) ?? (event.type === "system.alert" ? href("/health") : null);
  toast([h("strong", null, to ? link(to, title) : title), detail ? h("div", null, detail) : null], { tone });
  tellDesktop(title, detail, event.id);
}

function tellMany(/** @type {Happening[]} */ events) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const event of events) {
    const text = happened(event);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const lines = [...counts].map(([text, count]) => (count > 1 ? `${text} × ${count}` : text));
  const title = `${events.length} things happened`;
  toast([h("strong", null, link("/", title)), h("div", null, lines.join(" · "))]);
  tellDesktop(title, lines.join(", "), events[0].id);
}

/** @param {Happening} event @returns {{tone: Tone, title: string, detail: string}} */
function worded(event) {
  const { type, data } = event;
  const sum = data.amount && data.currency ? money(data.amount, data.currency) : "";
  const isBad = type === "system.alert" && data.severity === "critical" && !data.is_resolved;
  const tone = data.is_resolved ? "good" : isBad ? "bad" : NOTICED[type];
  const detail = [data.number, sum, data.message ?? data.reason].filter(Boolean).join(" · ");
  return { tone, title: happened(event), detail };
}

/** @param {string} title @param {string} body @param {string} tag */
function tellDesktop(title, body, tag) {
  const isWanted = wishes().isOnDesktop && document.visibilityState === "hidden";
  if (isWanted && "Notification" in globalThis && Notification.permission === "granted") {
    // Each tab tells; those of one tag are shown once.
    new Notification(title, { body, tag, icon: "/console/static/icon.svg" });
  }
}

/** Let people say which notices they want. */
export function askForWishes() {
  openDialog("Notices", () => {
    const shown = field("Show notices of payments, invoices and alerts", box("shown", wishes().isShown), {
      hint: "The feed of the overview shows every event, whatever is chosen here.",
    });
    shown.control.addEventListener("change", () => wish({ isShown: shown.control.checked }));
    const desktop = field("On the desktop too, while this page is in the background", box("desktop", wishes().isOnDesktop));
    desktop.control.addEventListener("change", () => void wishForDesktop(desktop));
    return h("div", { class: "form" }, shown.node, desktop.node);
  });
}

/** @param {string} name @param {boolean} isChecked */
function box(name, isChecked) {
  return input({ type: "checkbox", name, checked: isChecked });
}

async function wishForDesktop(/** @type {import("./ui/forms.js").Field} */ { control, setError }) {
  const isAllowed =
    control.checked && "Notification" in globalThis && (await Notification.requestPermission()) === "granted";
  if (control.checked && !isAllowed) {
    control.checked = false;
    setError("The browser does not allow it; change that in the settings of this site.");
  } else {
    setError(null);
  }
  wish({ isOnDesktop: isAllowed });
}
