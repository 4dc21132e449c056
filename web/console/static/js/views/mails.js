/** Mail: what companies' people were sent, what became of it, sending it again, and how each letter looks. */

import { api, newAct } from "../api.js";
import { h } from "../dom.js";
import { time, words } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { badge } from "../ui/badge.js";
import { confirm } from "../ui/dialog.js";
import { field, textarea } from "../ui/forms.js";
import { empty, shown } from "../ui/states.js";
import { toast } from "../ui/toasts.js";
import { AT, frame } from "./operations.js";
import { button, listing, panel, redrawn, refocus, seen } from "./parts.js";
import { named } from "./words.js";

const PATH = "/operations/mails";
const STATUSES = ["owed", "sending", "unknown", "sent", "deferred", "delivered", "bounced", "dropped", "complained", "failed", "suppressed"];
const AGAIN = ["unknown", "failed"];

/** @type {import("../router.js").View} */
export const mails = {
  path: `${AT}/mails`,
  title: "Mail",
  permission: "operations",
  show(context) {
    const list = listing({
      context,
      key: ["mails"],
      path: PATH,
      filters: [
        { name: "status", label: "Status", options: STATUSES.map((each) => [each, named(each)]) },
        { name: "template", label: "Letter", placeholder: "payment_failed" },
      ],
      table: {
        caption: "Mail",
        columns: [
          { label: "Letter", isHeader: true, cell: (each) => words(each.template) },
          { label: "Status", cell: (each) => badge(each.status) },
          { label: "To", cell: (each) => each.recipient },
          { label: "Why", cell: (each) => each.error_message ?? h("span", { class: "quiet" }, "—") },
          { label: "Written", cell: (each) => time(each.created_at) },
          { label: "What to do", isHiddenLabel: true, cell: again },
        ],
        rowKey: (each) => each.id,
        empty: () =>
          Object.values(list.values()).some(Boolean)
            ? empty("No letter fits", "Choose another status or letter.")
            : empty("Nobody has been written to", "Letters to the companies' people are listed here, with what became of each."),
      },
    });
    const letters = h("div");
    const draw = redrawn(letters, (/** @type {any} */ result) => shown(result, drawnTemplates));
    const stop = watch(query(["mail-templates"], ({ signal }) => api.get("/mail/templates", { signal })), (result) => draw(seen(result)));
    return {
      node: frame(`${AT}/mails`, list.form, list.rows, panel("Letters as they look", letters)),
      stop() {
        list.stop();
        stop();
      },
    };
  },
};

function drawnTemplates(/** @type {{data: any[]}} */ { data }) {
  return h(
    "ul",
    { class: "lines" },
    data.map((each) =>
      h(
        "li",
        null,
        h("span", null, h("strong", null, words(each.name)), h("span", { class: "quiet" }, ` ${each.about}${each.is_optional ? " Can be switched off." : ""}`)),
        h("span", null, each.languages.flatMap((/** @type {string} */ language) => [" ", preview(each.name, language)])),
      ),
    ),
  );
}

/** Return a link to a letter with made-up values: a page of its own, where nothing of it can run. */
function preview(/** @type {string} */ name, /** @type {string} */ language) {
  const address = `/api/v1/mail/templates/${encodeURIComponent(name)}/preview?language=${encodeURIComponent(language)}`;
  return h("a", { href: address, target: "_blank", rel: "noopener", "aria-label": `Preview ${words(name)} (${language})` }, language);
}

function again(/** @type {any} */ mail) {
  if (!AGAIN.includes(mail.status)) {
    return null;
  }
  return button("retry", "Send again", () => askAgain(mail), { "aria-label": `Send ${words(mail.template)} to ${mail.recipient} again` });
}

async function askAgain(/** @type {any} */ mail) {
  const act = newAct();
  const isUnknown = mail.status === "unknown";
  await confirm({
    title: "Send this letter again?",
    consequences: h("p", null, isUnknown ? "Nobody knows whether it went out: whoever has it already gets it twice." : "It was surely not sent. See that its cause is mended first."),
    fields: [field("Note", textarea({ name: "note", maxlength: 2000 }))],
    submit: "Send again",
    act: async ({ note }) => {
      await api.post(`${PATH}/${mail.id}/resend`, note ? { note } : {}, { act, headers: { "X-Company-Id": mail.company_id } });
      toast("It is sent again.", { tone: "good" });
      for (const key of ["mails", "alerts"]) {
        invalidate([key]);
      }
    },
  });
  refocus();
}
