/**
 * The server's time. Its rows carry it, and on the sandbox it may be days ahead of this device's.
 */

// A difference below this is only the way of the answer.
const NOTICED_MS = 2000;

let aheadMs = 0;

/** Return the server's time in milliseconds, as far as it is known. */
export function serverNow() {
  return Date.now() + aheadMs;
}

/** Take a time that the server has just told. */
export function hearTime(/** @type {string} */ at) {
  const ahead = Date.parse(at) - Date.now();
  if (Math.abs(ahead - aheadMs) > NOTICED_MS) {
    aheadMs = ahead;
  }
}
