/**
 * What the page asks of the server, as one visit. The visit's key is a cookie that no script sees;
 * which visit this tab has is no secret, and is kept for the way to a provider's page and back.
 */

const VISIT = "paybeat.portal.visit";
const WAIT_S = 15;
const MOST_ASKED = 4;

/** The server's answer to what it would not do (RFC 9457), or that there was none (status 0). */
export class ApiError extends Error {
  /** @param {number} status @param {Record<string, any>} problem */
  constructor(status, problem) {
    super(problem.detail ?? `Status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/** Return the visit that this tab has begun. */
export function visitId() {
  return sessionStorage.getItem(VISIT);
}

/** Hand a link's token in for a visit. */
export async function begin(/** @type {string} */ token) {
  const visit = await send("POST", "/portal/visits", { token });
  sessionStorage.setItem(VISIT, visit.id);
  return visit;
}

/** Forget which visit this was. */
export function leave() {
  sessionStorage.removeItem(VISIT);
}

/** @param {string} path under the visit @returns {Promise<any>} */
export function get(path) {
  return send("GET", pathOf(path));
}

/**
 * Change something. What is sent again with the same key happens once; an answer that is still to
 * come is asked for again.
 *
 * @param {string} path @param {any} [body] @param {string} [key] @returns {Promise<any>}
 */
export async function post(path, body = {}, key = crypto.randomUUID()) {
  let told = null;
  for (let asked = 0; asked < MOST_ASKED; asked += 1) {
    told = await send("POST", pathOf(path), body, key);
    if (told.answered !== 202) {
      break;
    }
  }
  return told;
}

/** @param {string} path @returns {Promise<any>} */
export function remove(path) {
  return send("DELETE", pathOf(path), undefined, crypto.randomUUID());
}

/** Return the address of a document, for a link. */
export function pathOf(/** @type {string} */ path) {
  return `/portal/visits/${visitId()}${path}`;
}

/** @param {string} method @param {string} url @param {any} [body] @param {string} [key] @returns {Promise<any>} */
export async function send(method, url, body, key) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json, application/problem+json" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  if (key) {
    Object.assign(headers, { "Idempotency-Key": key, Prefer: `wait=${WAIT_S}` });
  }
  let answer;
  try {
    answer = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin", redirect: "error" });
  } catch {
    throw new ApiError(0, {});
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new ApiError(answer.status, told);
  }
  return Array.isArray(told) ? told : { ...told, answered: answer.status };
}
