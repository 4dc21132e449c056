/**
 * The API over fetch. The session is a cookie that no script sees; an operator's company is a header.
 *
 *     const page = await api.get("/payments", {query: {status: "failed"}, signal});
 *     const act = newAct();                                   // once a form, not once a click
 *     await api.post(`/payments/${id}/refund`, {amount: "10.00"}, {act, waitS: 10});
 *
 * What fails is an ApiError (the server answered) or a NetworkError (nobody knows what it did).
 */

/**
 * @typedef {object} Config
 * @property {"sandbox" | "production"} env
 * @property {string} now the server's time
 * @property {string} relay_url
 * @property {{stripe: string | null, paypal: string | null} | null} sandbox
 * @property {string | null} flower_url
 */

/** @typedef {{field: string, detail: string}} FieldError */

const BASE = "/api/v1";
// Tries of one act, and the wait before each further one. The same key goes with each.
const RETRY_AFTER_MS = [400, 1200];

/** The server's answer to what it would not do (RFC 9457). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Record<string, any>} problem
   * @param {number | null} retryAfterS
   */
  constructor(status, problem, retryAfterS = null) {
    super(problem.detail || problem.title || `Status ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop() ?? "";
    this.title = problem.title ?? `The server answered ${status}`;
    this.detail = problem.detail ?? this.title;
    /** @type {FieldError[]} */
    this.errors = problem.errors ?? [];
    this.requestId = problem.request_id ?? null;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request may do better in a moment. */
  get isPassing() {
    return this.status >= 500 || this.status === 429;
  }
}

/** No answer came; whether the server did it, nobody knows. */
export class NetworkError extends Error {
  constructor() {
    super("The server cannot be reached.");
    this.name = "NetworkError";
    this.title = "The server cannot be reached";
    this.detail = "Check the connection of this device.";
  }

  get isPassing() {
    return true;
  }
}

/**
 * One act of a person: sent again after a failure it keeps its key, so that it happens once; with
 * another body it is another act.
 *
 * @typedef {{keyFor(body: any): string, renew(): void}} Act
 * @returns {Act}
 */
export function newAct() {
  let key = crypto.randomUUID();
  /** @type {string | null} */
  let sent = null;
  return {
    keyFor(body) {
      const text = JSON.stringify(body ?? null);
      if (sent !== null && sent !== text) {
        key = crypto.randomUUID();
      }
      sent = text;
      return key;
    },
    renew() {
      key = crypto.randomUUID();
      sent = null;
    },
  };
}

/**
 * @typedef {object} Options
 * @property {Record<string, any>} [query] null, undefined and "" are left out; arrays repeat
 * @property {AbortSignal} [signal]
 * @property {Act} [act] for what changes something; one is made where none is given
 * @property {number} [waitS] ask the server to wait for the worker this long (Prefer: wait)
 * @property {Record<string, string>} [headers]
 * @property {boolean} [isFile] the answer is a document
 */

/** @type {{who: string, companyId: string | null, onSignedOut: () => void}} */
const context = { who: "", companyId: null, onSignedOut: () => {} };

/**
 * Say who acts from now on, and the company that an operator acts for; null for none.
 *
 * @param {string | null} userId
 * @param {string | null} companyId
 */
export function actAs(userId, companyId) {
  context.who = `${userId} ${companyId}`;
  context.companyId = companyId;
}

/** Have `hear` called when the server says that the session has ended. */
export function whenSignedOut(/** @type {() => void} */ hear) {
  context.onSignedOut = hear;
}

export const api = {
  /** @param {string} path @param {Options} [options] @returns {Promise<any>} */
  get: (path, options) => send("GET", path, undefined, options),
  /** @param {string} path @param {Options} [options] @returns {Promise<Blob>} */
  file: (path, options) => send("GET", path, undefined, { ...options, isFile: true }),
  /** @param {string} path @param {any} [body] @param {Options} [options] @returns {Promise<any>} */
  post: (path, body, options) => send("POST", path, body ?? {}, options),
  /** @param {string} path @param {any} [body] @param {Options} [options] @returns {Promise<any>} */
  put: (path, body, options) => send("PUT", path, body ?? {}, options),
  /** @param {string} path @param {any} [body] @param {Options} [options] @returns {Promise<any>} */
  patch: (path, body, options) => send("PATCH", path, body ?? {}, options),
  /** @param {string} path @param {Options} [options] @returns {Promise<any>} */
  delete: (path, options) => send("DELETE", path, undefined, options),

  /**
   * Return the first `count` pages of a list as one.
   *
   * @param {string} path
   * @param {{query?: Record<string, any>, signal?: AbortSignal, count?: number}} [options]
   * @returns {Promise<{data: any[], next_cursor: string | null}>}
   */
  async pages(path, { query, signal, count = 1 } = {}) {
    let page = await api.get(path, { query, signal });
    const data = [...page.data];
    for (let n = 1; n < count && page.next_cursor; n += 1) {
      page = await api.get(path, { query: { ...query, cursor: page.next_cursor }, signal });
      data.push(...page.data);
    }
    return { ...page, data };
  },
};

/**
 * Send one request, and again where that cannot do it twice.
 *
 * @param {string} method
 * @param {string} path under /api/v1, or from the root where it begins with "/console/"
 * @param {any} body
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
async function send(method, path, body, options = {}) {
  const url = urlOf(path, options.query);
  const act = method === "POST" ? (options.act ?? newAct()) : null;
  const { who } = context;
  const init = {
    method,
    headers: headersOf(body, act, options),
    body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
    signal: options.signal,
    credentials: /** @type {const} */ ("same-origin"),
    redirect: /** @type {const} */ ("error"),
  };
  // A GET is tried again by its query, which knows whether anybody still looks.
  const waits = method === "GET" ? [] : RETRY_AFTER_MS;
  for (const waitMs of waits) {
    try {
      return await sendOnce(url, init, options);
    } catch (error) {
      if (!(error instanceof NetworkError) || !navigator.onLine) {
        throw error;
      }
      await pause(waitMs, options.signal);
      if (context.who !== who) {
        // The cookie is another one's by now.
        throw error;
      }
    }
  }
  return sendOnce(url, init, options);
}

/** @param {string} url @param {RequestInit} init @param {Options} options */
async function sendOnce(url, init, options) {
  let answer;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) {
      throw error;
    }
    throw new NetworkError();
  }
  return read(answer, url, init, options);
}

/** @param {Response} answer @param {string} url @param {RequestInit} init @param {Options} options */
async function read(answer, url, init, { isFile = false }) {
  let body = null;
  if (answer.status !== 204) {
    try {
      body = await (isFile && answer.ok ? answer.blob() : answer.json());
    } catch (error) {
      if (init.signal?.aborted) {
        throw error;
      }
      if (answer.ok) {
        throw new NetworkError();
      }
    }
  }
  if (answer.ok) {
    return body;
  }
  const retryAfterS = Number(answer.headers.get("Retry-After")) || null;
  const error = new ApiError(answer.status, body ?? {}, retryAfterS);
  if (error.kind === "unauthenticated" && !url.startsWith("/console/")) {
    context.onSignedOut();
  }
  throw error;
}

/** @param {string} path @param {Record<string, any>} [query] */
function urlOf(path, query) {
  const whole = path.startsWith("/console/") ? path : BASE + path;
  // What leads elsewhere than it says, such as an id "..", asks for nothing.
  if (/[%?#\\]/.test(path) || new URL(whole, location.origin).pathname !== whole) {
    throw new Error(`No path of the API: ${path}`);
  }
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") {
        params.append(name, String(each));
      }
    }
  }
  const text = params.toString();
  return whole + (text ? `?${text}` : "");
}

/** @param {any} body @param {Act | null} act @param {Options} options */
function headersOf(body, act, options) {
  /** @type {Record<string, string>} */
  const headers = { Accept: options.isFile ? "application/pdf, application/problem+json" : "application/json, application/problem+json", ...options.headers };
  if (body !== undefined) {
    headers["Content-Type"] = body instanceof Blob ? "text/csv" : "application/json";
  }
  if (act) {
    headers["Idempotency-Key"] = act.keyFor(body);
  }
  if (context.companyId) {
    headers["X-Company-Id"] = context.companyId;
  }
  if (options.waitS !== undefined) {
    headers.Prefer = options.waitS > 0 ? `wait=${options.waitS}` : "respond-async";
  }
  return headers;
}

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
