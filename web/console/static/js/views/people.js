/** Who is online. While our own connection is away nobody is called offline: it is we who don't know. */

import { api } from "../api.js";
import { serverNow } from "../clock.js";
import { h, replace } from "../dom.js";
import { count, time } from "../format.js";
import { query, watch } from "../query.js";
import { statusInWords } from "../relay/client.js";
import { companyId, session } from "../session.js";
import { store } from "../store.js";
import { icon } from "../ui/icons.js";
import { empty, shown } from "../ui/states.js";
import { heading } from "./parts.js";

/** @typedef {{user_id: string, name: string, email: string, since: string}} Person */

/** Return the query of who is online. */
export function presence() {
  return query(["presence"], ({ signal }) => api.get("/presence", { signal }));
}

/**
 * Return who is online, with us: we are here, whatever was told before our own socket was open.
 *
 * @returns {Person[]}
 */
function peopleOf(/** @type {any} */ data) {
  const told = /** @type {Person[]} */ (data?.data ?? []);
  const { user } = session();
  if (!user || told.some((each) => each.user_id === user.id)) {
    return told;
  }
  return [{ user_id: user.id, name: user.name, email: user.email, since: new Date(serverNow()).toISOString() }, ...told];
}

/** Return the name of somebody who is or was online, as far as it was told. */
export function nameOf(/** @type {string} */ userId) {
  const { user } = session();
  if (user?.id === userId) {
    return user.name || user.email;
  }
  const known = peopleOf(presence().get().data).find((each) => each.user_id === userId);
  return known ? known.name || known.email : null;
}

function isLive() {
  return store.get().relay.state === "live";
}

/** Two letters for a face. */
function initials(/** @type {Person} */ person) {
  const parts = (person.name || person.email).split(/[\s.@]+/).filter(Boolean);
  return parts.slice(0, 2).map((part) => part[0].toUpperCase()).join("");
}

/** @param {Person} person */
function face(person) {
  return h("span", { class: "face", "aria-hidden": "true" }, initials(person));
}

/** Return a line of who is online, and what stops it. */
export function onlineStrip() {
  const node = h("div", { class: "strip" });
  const draw = () => {
    const { data, error } = presence().get();
    const people = peopleOf(data);
    const told = isLive() ? `${count(people.length)} online` : "Reconnecting: who is online is not known now";
    replace(
      node,
      h("span", { class: "faces" }, people.slice(0, 8).map((each) => h("span", { title: each.name || each.email }, face(each)))),
      h("span", null, error && !data ? "Who is online cannot be read now." : told),
      people.length ? h("span", { class: "quiet" }, people.slice(0, 4).map((each) => each.name || each.email).join(", "), people.length > 4 ? " and others" : "") : null,
    );
  };
  const stops = [watch(presence(), draw), store.subscribe((state) => state.relay.state, draw)];
  return { node, stop: () => stops.forEach((stop) => stop()) };
}

/** @type {import("../router.js").View} */
export const people = {
  path: "/people",
  title: "Who is online",
  nav: { label: "Who is online", icon: "people" },
  needsCompany: true,
  show() {
    const body = h("div");
    const ours = h("div");
    let result = presence().get();
    const draw = () => {
      const { relay } = store.get();
      replace(
        ours,
        isLive()
          ? null
          : h("p", { class: "told warn", role: "status" }, icon("refresh"), h("span", null, h("strong", null, `We are ${relay.state === "offline" ? "offline" : "reconnecting"}. `), `${statusInWords(relay)}. Who is shown was online when we last knew.`)),
      );
      replace(body, shown(result, (data) => (peopleOf(data).length ? list(peopleOf(data)) : empty("Nobody is online", "Whoever has this console open is shown here."))));
    };
    const stops = [
      watch(presence(), (now) => {
        result = now;
        draw();
      }),
      store.subscribe((state) => state.relay, draw),
    ];
    const node = h("section", null, heading("Who is online"), ours, body);
    return { node, stop: () => stops.forEach((stop) => stop()) };
  },
};

function list(/** @type {Person[]} */ all) {
  const me = session().user?.id;
  return h(
    "ul",
    { class: "people", dataset: { company: companyId() } },
    all.map((each) => {
      const isMe = each.user_id === me;
      const state = isLive() ? "online" : isMe ? "reconnecting" : "not known now";
      return h(
        "li",
        { class: "card", dataset: { state } },
        face(each),
        h("div", null, h("strong", null, each.name || each.email), isMe ? " (you)" : null, h("div", { class: "quiet" }, each.name ? each.email : null)),
        h("div", { class: "person-state" }, h("span", { class: "dot", "aria-hidden": "true" }), state, h("div", { class: "quiet" }, "since ", time(each.since))),
      );
    }),
  );
}
