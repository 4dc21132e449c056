/** What is shown instead of a view: the way in, and an operator's choice of a company. */

import { api } from "./api.js";
import { h, replace } from "./dom.js";
import { follow, query } from "./query.js";
import { actFor, can, companyId, find, session, signIn } from "./session.js";
import { store } from "./store.js";
import { field, formOf, input } from "./ui/forms.js";
import { icon } from "./ui/icons.js";
import { empty, failed, loading, shown } from "./ui/states.js";
import { billingsPanel } from "./views/billings.js";

const TYPING_MS = 250;

/**
 * Return what must be shown before `view` can be, or null.
 *
 * @param {import("./router.js").View} view
 * @returns {import("./router.js").View | null}
 */
export function door(view) {
  switch (session().status) {
    case "unknown":
      return waiting;
    case "unreachable":
      return unreachable;
    case "out":
      return signInView;
    default:
  }
  if (view.permission && !can(view.permission)) {
    return forbidden;
  }
  return view.needsCompany && companyId() === null ? chooser : null;
}

/** @type {import("./router.js").View} */
const waiting = { path: "", title: "Loading", show: () => ({ node: loading("Loading the console…") }) };

/** @type {import("./router.js").View} */
const unreachable = {
  path: "",
  title: "Not reachable",
  show: () => ({
    node: failed(session().error ?? { title: "The server cannot be reached" }, () => void find(), { isTriedOn: true }),
  }),
};

/** @type {import("./router.js").View} */
const forbidden = {
  path: "",
  title: "Not allowed",
  show: () => ({ node: h("section", null, h("h1", null, "Not for you"), failed({ status: 403, title: "Your role may not see this" })) }),
};

/** @type {import("./router.js").View} */
const signInView = {
  path: "",
  title: "Sign in",
  show() {
    const email = field("Email", input({ name: "email", type: "email", required: true, autocomplete: "username", autofocus: true }));
    const password = field("Password", input({ name: "password", type: "password", required: true, autocomplete: "current-password" }));
    const form = formOf({
      fields: [email, password],
      submit: "Sign in",
      onSubmit: (values) => signIn(values.email, values.password),
    });
    form.id = "sign-in";
    const isSandbox = store.get().config?.env === "sandbox";
    const demo = isSandbox ? demoHint() : null;
    return { node: h("section", { class: "door" }, icon("logo", { class: "logo" }), h("h1", null, "Sign in to Paybeat"), form, demo) };
  },
};

function demoHint() {
  return h(
    "p",
    { class: "hint" },
    "On the sandbox: ",
    h("code", null, "owner@demo.example"),
    " or ",
    h("code", null, "operator@demo.example"),
    ", with the password that ",
    h("code", null, "make run"),
    " names.",
  );
}

/**
 * All of the tenant's companies: which to act for, and what each was billed.
 *
 * @type {import("./router.js").View}
 */
export const companies = {
  path: "/companies",
  title: "Companies",
  nav: { label: "Companies", icon: "company" },
  permission: "operations",
  show(context) {
    const chosen = chooser.show(context);
    const billings = billingsPanel(context);
    chosen.node.append(billings.node);
    return {
      node: chosen.node,
      stop() {
        chosen.stop?.();
        billings.stop();
      },
    };
  },
};

/**
 * An operator acts for one company at a time.
 *
 * @type {import("./router.js").View}
 */
const chooser = {
  path: "",
  title: "Companies",
  show() {
    const list = h("div", { class: "choices" });
    const search = input({ type: "search", name: "search", placeholder: "How its name begins" });
    const results = follow((result) => {
      replace(list, shown(result, ({ data }) => (data.length ? h("ul", null, data.map(choice)) : empty("No such company", "Try how its name begins."))));
    });
    const ask = () => {
      const text = search.value.trim();
      results.show(query(["companies", text], ({ signal }) => api.get("/companies", { query: { search: text }, signal })));
    };
    /** @type {any} */
    let timer;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, TYPING_MS);
    });
    ask();
    const node = h("section", { class: "stack" }, h("h1", null, "Choose a company"), h("p", { class: "quiet" }, "Everything about money belongs to a company; choose the one to act for."), field("Find a company", search).node, list);
    return {
      node,
      stop() {
        clearTimeout(timer);
        results.stop();
      },
    };
  },
};

function choice(/** @type {{id: string, name: string, email?: string}} */ company) {
  const isChosen = session().company?.id === company.id;
  return h(
    "li",
    null,
    h(
      "button",
      { type: "button", "aria-pressed": String(isChosen), onClick: () => actFor({ id: company.id, name: company.name }) },
      icon("company"),
      h("span", null, company.name, company.email ? h("small", null, company.email) : null),
    ),
  );
}
