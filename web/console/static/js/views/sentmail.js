/** What the sandbox's SendGrid has taken: on this machine nobody else gets it. */

import { h } from "../dom.js";
import { time } from "../format.js";
import { query, watch } from "../query.js";
import { store } from "../store.js";
import { empty, shown } from "../ui/states.js";
import { panel, redrawn, seen } from "./parts.js";
import { addressAt, ask } from "./standins.js";

const MOST = 10;

/** The panel of sent mail; null where mail does not go to the sandbox. */
export function sentMailPanel() {
  if (!store.get().config?.sandbox?.mail) {
    return null;
  }
  const list = h("div");
  const draw = redrawn(list, (/** @type {any} */ result) => shown(result, drawn));
  const stop = watch(query(["sandbox", "messages"], ({ signal }) => ask("mail", "GET", "messages", { signal })), (result) => draw(seen(result)));
  return { node: panel("Sent mail", list), stop };
}

function drawn(/** @type {{messages: any[]}} */ { messages }) {
  if (messages.length === 0) {
    return empty("Nothing was sent yet", "Letters to companies' people are kept here instead of being delivered.");
  }
  return h(
    "ul",
    { class: "lines", "aria-label": "Sent mail, newest first" },
    messages.slice(0, MOST).map((each) =>
      h(
        "li",
        null,
        h("span", null, h("a", { href: addressAt("mail", `messages/${each.id}.html`), target: "_blank", rel: "noopener" }, each.subject), h("span", { class: "quiet" }, ` ${each.to}${each.attachments.length ? `, with ${each.attachments.join(", ")}` : ""}`)),
        h("span", { class: "quiet" }, each.events.at(-1) ?? "taken", " ", time(new Date(each.at * 1000).toISOString())),
      ),
    ),
  );
}
