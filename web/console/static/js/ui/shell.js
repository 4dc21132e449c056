/** What stands around the views: who is signed in, where one can go, whether the page is live. */

import { h, replace } from "../dom.js";
import { askForWishes } from "../notices.js";
import { keepTheme } from "../preferences.js";
import { statusInWords } from "../relay/client.js";
import { href } from "../router.js";
import { can, session, signOut } from "../session.js";
import { store } from "../store.js";
import { nextTheme, theme } from "../theme.js";
import { icon } from "./icons.js";
import { toastError } from "./toasts.js";

const TICK_MS = 1000;
const THEMES = { system: ["system", "As the system"], light: ["sun", "Light"], dark: ["moon", "Dark"] };

/**
 * Fill the page's landmarks.
 *
 * @param {() => import("../router.js").View[]} views
 */
export function startShell(views) {
  const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
  const account = /** @type {HTMLElement} */ (document.getElementById("account"));
  const menu = /** @type {HTMLElement} */ (document.getElementById("menu"));
  let path = location.pathname;

  const show = () => {
    document.body.dataset.session = session().status;
    replace(nav, navOf(views(), path));
    replace(account, accountOf());
  };
  replace(menu, icon("menu"));
  menu.addEventListener("click", () => setOpen(!document.body.classList.contains("nav-open")));
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    // Without a step in the history, which would lead back to the middle of a view.
    event.preventDefault();
    document.getElementById("view")?.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("nav-open")) {
      setOpen(false);
      menu.focus();
    }
  });
  store.subscribe((state) => state.session, show);
  startStatus();
  show();
  return {
    /** Mark where one is. */
    arrived() {
      path = location.pathname;
      setOpen(false);
      show();
    },
  };

  function setOpen(/** @type {boolean} */ isOpen) {
    document.body.classList.toggle("nav-open", isOpen);
    menu.setAttribute("aria-expanded", String(isOpen));
  }
}

/** @param {import("../router.js").View[]} views @param {string} path */
function navOf(views, path) {
  if (session().status !== "in") {
    return null;
  }
  const shown = views.filter((view) => view.nav && (!view.permission || can(view.permission)));
  const items = shown.map((view) => {
    const to = href(view.path);
    const isHere = view.path === "/" ? path.replace(/\/$/, "") === to : path.startsWith(to);
    const { label, icon: name } = /** @type {{label: string, icon: string}} */ (view.nav);
    return h("li", null, h("a", { href: to, "aria-current": isHere ? "page" : null }, icon(name), label));
  });
  return h("ul", null, items);
}

function accountOf() {
  const { user, company, status } = session();
  const chosen = theme();
  const [name, words] = THEMES[chosen];
  const themes = h(
    "button",
    {
      type: "button",
      class: "plain",
      id: "theme",
      "aria-label": `Colours: ${words}`,
      title: `Colours: ${words}`,
      onClick: () => {
        const next = nextTheme();
        if (session().status === "in") {
          void keepTheme(next);
        }
        replace(/** @type {HTMLElement} */ (document.getElementById("account")), accountOf());
        document.getElementById("theme")?.focus();
      },
    },
    icon(name),
  );
  if (status !== "in" || !user) {
    return themes;
  }
  return [
    h(
      "div",
      { class: "who" },
      h("span", { class: "who-name" }, user.name || user.email),
      user.role === "operator"
        ? h("a", { href: href("/companies") }, company ? `For ${company.name}` : "Choose a company")
        : null,
    ),
    h(
      "button",
      { type: "button", class: "plain", "aria-label": "Notices", title: "Notices", onClick: askForWishes },
      icon("alert"),
    ),
    themes,
    h(
      "button",
      { type: "button", class: "plain", id: "sign-out", onClick: () => signOut().catch(toastError) },
      icon("out"),
      h("span", { class: "wide" }, "Sign out"),
    ),
  ];
}

/** The connection in words; a wait counts down. Read out when it changes, not each second. */
function startStatus() {
  const node = /** @type {HTMLElement} */ (document.getElementById("connection"));
  const told = h("span", { class: "visually-hidden", role: "status" });
  const seen = h("span", { "aria-hidden": "true" });
  replace(node, h("span", { class: "dot", "aria-hidden": "true" }), seen, told);
  const show = () => {
    const { relay, session: who } = store.get();
    node.hidden = who.status !== "in";
    node.dataset.state = relay.state;
    const text = statusInWords(relay);
    if (seen.textContent !== text) {
      seen.textContent = text;
    }
    const plain = relay.state === "waiting" ? "Reconnecting" : text;
    if (told.textContent !== plain) {
      told.textContent = plain;
    }
  };
  store.subscribe((state) => state.relay, show);
  store.subscribe((state) => state.session, show);
  setInterval(() => store.get().relay.state === "waiting" && show(), TICK_MS);
  show();
}
