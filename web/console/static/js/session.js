/**
 * Who is signed in, and which company they act for. Every tab knows it of every other.
 */

import { untilItGoes } from "./again.js";
import { ApiError, actAs, api, whenSignedOut } from "./api.js";
import { readConfig } from "./config.js";
import { forgetPreferences, usePreferences } from "./preferences.js";
import { clear } from "./query.js";
import { store } from "./store.js";

/**
 * @typedef {object} User
 * @property {string} id
 * @property {string} email
 * @property {string} name
 * @property {"owner" | "billing_admin" | "member" | "operator"} role
 * @property {string} tenant_id
 * @property {string | null} company_id
 * @property {string[]} permissions
 */

/**
 * @typedef {object} SessionState
 * @property {"unknown" | "out" | "in" | "unreachable"} status
 * @property {User | null} user
 * @property {{id: string, name: string} | null} company the one that an operator chose
 * @property {any} [error] why it is unreachable
 */

const SESSION = "/console/session";
const COMPANY = "paybeat.company";

/** @type {BroadcastChannel | null} */
let tabs = null;

/** Return the state of the session. */
export function session() {
  return store.get().session;
}

/** Return whether who is signed in may do that, such as "payments:write". */
export function can(/** @type {string} */ permission) {
  return session().user?.permissions.includes(permission) ?? false;
}

/** Return the id of the company that is acted for, null for an operator who chose none. */
export function companyId() {
  const { user, company } = session();
  return user?.company_id ?? company?.id ?? null;
}

/** Find out who is signed in, and hear from the other tabs from now on. */
export async function startSession() {
  tabs = new BroadcastChannel("paybeat.session");
  tabs.onmessage = ({ data }) => {
    if (data.type === "out") {
      leave();
    } else if (data.type === "in" && data.userId !== session().user?.id) {
      void find();
    }
  };
  whenSignedOut(() => {
    if (session().status === "in") {
      leave();
      tabs?.postMessage({ type: "out" });
    }
  });
  await find();
}

/** Ask the server who this is, until it answers. */
export const find = untilItGoes(async () => {
  try {
    await readConfig();
    const user = await api.get("/auth/me");
    await usePreferences();
    enter(user);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      leave();
      return;
    }
    const { status, error: told } = session();
    if (status !== "in" && told?.title !== /** @type {any} */ (error)?.title) {
      store.set({ session: { status: "unreachable", user: null, company: null, error } });
    }
    throw error;
  }
});

/** Sign in; an ApiError says why not. */
export async function signIn(/** @type {string} */ email, /** @type {string} */ password) {
  const user = await api.post(SESSION, { email, password });
  await usePreferences();
  enter(user);
  tabs?.postMessage({ type: "in", userId: user.id });
}

/** The session goes on, for its end could not be asked for. */
class StillSignedIn extends Error {
  title = "You are still signed in";

  constructor(/** @type {any} */ { title, detail, message }) {
    super(message);
    this.detail = `${title ?? message}${title && detail && detail !== title ? `. ${detail}` : "."} Try again.`;
  }
}

/** Sign out, here and in every tab. Works also where the session has ended already. */
export async function signOut() {
  try {
    await api.delete(SESSION);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 401)) {
      throw new StillSignedIn(/** @type {any} */ (error));
    }
  }
  leave();
  tabs?.postMessage({ type: "out" });
}

/** Act for a company; operators alone can choose. */
export function actFor(/** @type {{id: string, name: string} | null} */ company) {
  actAs(session().user?.id ?? null, company?.id ?? null);
  if (company) {
    sessionStorage.setItem(COMPANY, JSON.stringify(company));
  } else {
    sessionStorage.removeItem(COMPANY);
  }
  clear();
  store.set({ session: { ...session(), company }, feed: [] });
}

function enter(/** @type {User} */ user) {
  const company = user.role === "operator" ? rememberedCompany() : null;
  actAs(user.id, company?.id ?? null);
  if (session().user?.id !== user.id) {
    clear();
    store.set({ feed: [] });
  }
  store.set({ session: { status: "in", user, company } });
}

function leave() {
  sessionStorage.removeItem(COMPANY);
  actAs(null, null);
  forgetPreferences();
  clear();
  store.set({ session: { status: "out", user: null, company: null }, feed: [] });
}

/** A reload keeps the company; another tab may act for another one. */
function rememberedCompany() {
  try {
    return JSON.parse(sessionStorage.getItem(COMPANY) ?? "null");
  } catch {
    return null;
  }
}
