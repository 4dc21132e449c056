/**
 * The stand-ins for the providers, steered from the page: `/sandbox/…` of each, which answers pages
 * of this machine. Beside the API, so what fails here is told in words of its own.
 */

import { store } from "../store.js";

/** @typedef {"stripe" | "paypal" | "mail"} Provider */

export const NAMES = /** @type {Record<Provider, string>} */ ({ stripe: "Stripe", paypal: "PayPal", mail: "SendGrid" });

/** Why a stand-in did not do what it was asked. */
class StandInError extends Error {
  /** @param {string} title @param {string} detail */
  constructor(title, detail) {
    super(detail);
    this.name = "StandInError";
    this.title = title;
    this.detail = detail;
    this.errors = [];
  }

  get isPassing() {
    return true;
  }
}

/** Return the providers of payments that have a stand-in here. */
export function standIns() {
  const known = store.get().config?.sandbox ?? { stripe: null, paypal: null, mail: null };
  return /** @type {Provider[]} */ (["stripe", "paypal"]).filter((each) => known[each]);
}

/** Return an address at a stand-in, for a link. */
export function addressAt(/** @type {Provider} */ provider, /** @type {string} */ path) {
  return `${store.get().config?.sandbox?.[provider]}/sandbox/${path}`;
}

/**
 * Ask a stand-in.
 *
 * @param {Provider} provider
 * @param {"GET" | "POST" | "DELETE"} method
 * @param {string} path such as "faults"
 * @param {{body?: any, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function ask(provider, method, path, { body, signal } = {}) {
  const name = NAMES[provider];
  const hasBody = method === "POST";
  let answer;
  let told;
  try {
    answer = await fetch(addressAt(provider, path), {
      method,
      signal,
      headers: hasBody ? { "Content-Type": "application/json" } : {},
      body: hasBody ? JSON.stringify(body ?? {}) : undefined,
      credentials: "omit",
    });
    told = await answer.json();
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new StandInError(
      `The sandbox's ${name} cannot be reached`,
      "Open the console at 127.0.0.1 or localhost, on the machine on which the sandbox runs.",
    );
  }
  if (!answer.ok) {
    throw new StandInError(`The sandbox's ${name} would not`, told?.error?.message ?? `Status ${answer.status}`);
  }
  return told;
}

/**
 * Ask every stand-in the same; one that cannot be reached has its error in place of the answer.
 *
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {Promise<{provider: Provider, told: any, error: any}[]>}
 */
export async function askAll(path, signal) {
  const asked = standIns().map(async (provider) => {
    try {
      return { provider, told: await ask(provider, "GET", path, { signal }), error: null };
    } catch (error) {
      if (signal.aborted) {
        throw error;
      }
      return { provider, told: null, error };
    }
  });
  const found = await Promise.all(asked);
  if (found.every(({ error }) => error)) {
    throw found[0]?.error ?? new StandInError("There is no stand-in", "The providers are real ones here.");
  }
  return found;
}
