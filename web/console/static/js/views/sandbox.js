/** The sandbox: make a payment with a test card, have things go wrong, let time pass, and watch. */

import { api } from "../api.js";
import { h, replace } from "../dom.js";
import { count, inMainUnit, money } from "../format.js";
import { invalidate, query, watch } from "../query.js";
import { companyId } from "../session.js";
import { store } from "../store.js";
import { empty, shown } from "../ui/states.js";
import { clockPanel } from "./ahead.js";
import { heading, panel, redrawn, seen } from "./parts.js";
import { purchasePanel } from "./purchase.js";
import { sentMailPanel } from "./sentmail.js";
import { NAMES, askAll } from "./standins.js";
import { faultsPanel, webhooksPanel } from "./trouble.js";

/** @type {import("../router.js").View} */
export const sandbox = {
  path: "/sandbox",
  title: "Sandbox",
  nav: { label: "Sandbox", icon: "sandbox" },
  needsCompany: true,
  permission: "payments:write",
  show() {
    const state = h("div");
    const totals = h("div");
    const purchase = purchasePanel();
    const clock = clockPanel();
    const faults = faultsPanel();
    const webhooks = webhooksPanel();
    const mail = sentMailPanel();
    const drawTotals = redrawn(totals, (/** @type {any} */ result) => shown(result, drawnTotals));
    const standIn = (/** @type {string} */ path) => query(["sandbox", path], ({ signal }) => askAll(path, signal));
    const stops = [
      purchase.stop,
      ...(mail ? [mail.stop] : []),
      watch(standIn("clock"), (result) => {
        replace(state, result.error ? shown({ ...result, data: undefined }, () => null) : null);
        const told = result.data?.find((each) => each.told)?.told;
        if (told) {
          clock.showClock(told);
        }
      }),
      watch(standIn("faults"), ({ data }) => data && faults.show(data)),
      watch(standIn("webhooks"), ({ data }) => data && webhooks.show(data)),
      watch(standIn("totals"), (result) => drawTotals(seen(result))),
      watch(query(["overview"], ({ signal }) => api.get("/overview", { signal })), ({ data }) => data && clock.showRetries(data)),
      // Whatever happens may have spent a fault or moved money at a provider.
      store.subscribe(({ feed }) => feed, () => invalidate(["sandbox"])),
    ];
    const node = h(
      "section",
      { class: "sandbox", dataset: { company: companyId() } },
      heading("Sandbox"),
      h("p", { class: "quiet lead" }, "The providers are stand-ins on this machine. Nothing here is real money; everything else is as in production."),
      state,
      h("div", { class: "columns" }, h("div", { class: "stack" }, purchase.node, faults.node, webhooks.node), h("div", { class: "stack" }, clock.node, panel("The providers' books", totals), mail ? mail.node : null)),
    );
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

/** @param {{provider: import("./standins.js").Provider, told: any, error: any}[]} found */
function drawnTotals(found) {
  const away = found.filter(({ error }) => error).map(({ error }) => h("p", { class: "quiet" }, `${error.title}.`));
  const sums = found.flatMap(({ provider, told }) =>
    Object.entries(told?.totals ?? {}).map(([currency, each]) => totalLine(NAMES[provider], currency.toUpperCase(), each)),
  );
  if (sums.length === 0) {
    return [empty("No provider has charged anything yet", "What they charge and give back is summed here, as they see it: of all companies."), away];
  }
  return [h("ul", { class: "lines", "aria-label": "Totals of all companies, as the providers see them" }, sums), away];
}

/** @param {string} name @param {string} currency @param {any} totals in the currency's smallest unit */
function totalLine(name, currency, { charges, charged, refunded }) {
  const inWords = (/** @type {number} */ minor) => money(inMainUnit(minor, currency), currency);
  const back = refunded ? `, ${inWords(refunded)} given back` : "";
  return h(
    "li",
    null,
    h("span", null, h("strong", null, name), h("span", { class: "quiet" }, ` ${count(charges)} ${charges === 1 ? "charge" : "charges"}${back}`)),
    h("strong", { class: "number" }, inWords(charged)),
  );
}
