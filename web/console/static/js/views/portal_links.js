/** Links to the customer portal: had for somebody who has no login, and revoked. */

import { api, newAct } from "../api.js";
import { h } from "../dom.js";
import { dateTime } from "../format.js";
import { companyId } from "../session.js";
import { confirm } from "../ui/dialog.js";
import { field, input } from "../ui/forms.js";
import { toast } from "../ui/toasts.js";

/**
 * Have a link made, and show it to be copied.
 *
 * @param {string} path
 * @param {{title: string, told: string}} words
 */
export async function copyLink(path, { title, told }) {
  const { url, expires_at: end } = await api.post(path);
  const shown = field("Link", input({ name: "link", value: url, readonly: true }), { hint: `It works until ${dateTime(end)}.` });
  await confirm({
    title,
    consequences: h("p", null, told),
    fields: [shown],
    submit: "Copy",
    act: async () => {
      await navigator.clipboard.writeText(url);
      toast("The link is copied.", { tone: "good" });
    },
  });
}

export function copyPortalLink() {
  return copyLink(`/companies/${companyId()}/portal-link`, {
    title: "Link to the customer portal",
    told: "Whoever has it sees the company's invoices, pays them, and changes its cards, without a login.",
  });
}

export async function revokeLinks() {
  const act = newAct();
  await confirm({
    title: "Revoke all links of the company?",
    consequences: h("p", null, "No link works any more that was sent or copied until now, those in letters too. Their recipients can ask for new ones."),
    submit: "Revoke",
    tone: "danger",
    act: async () => {
      await api.delete(`/companies/${companyId()}/portal-link`, { headers: { "Idempotency-Key": act.keyFor(null) } });
      toast("The links are revoked.", { tone: "good" });
    },
  });
}
