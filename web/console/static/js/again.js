/** When to try once more what failed and may pass: later and later, never all pages at once. */

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;

/**
 * Return how long to wait before the next try.
 *
 * @param {number} failures in a row
 * @param {any} error which may name the least wait
 * @param {number} random from 0 to 1
 */
export function waitAfter(failures, error, random) {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1));
  return (error?.retryAfterS ?? 0) * 1000 + full * (0.5 + 0.5 * random);
}

const REAL = {
  setTimer: (/** @type {() => void} */ run, /** @type {number} */ ms) => setTimeout(run, ms),
  clearTimer: (/** @type {any} */ timer) => clearTimeout(timer),
  random: () => Math.random(),
  isVisible: () => document.visibilityState === "visible",
};

/**
 * Return a function that tries `attempt` now, and again by itself until it goes; while nobody looks
 * it waits. The promise is of a try that began after the call, and went.
 *
 * @param {() => Promise<void>} attempt
 * @param {Partial<typeof REAL>} [given]
 */
export function untilItGoes(attempt, given = {}) {
  const env = { ...REAL, ...given };
  let failures = 0;
  /** @type {any} */
  let timer = null;
  let isRunning = false;
  let isWaiting = false;
  /** @type {(() => void)[]} */
  let heard = [];

  async function run() {
    env.clearTimer(timer);
    isWaiting = false;
    isRunning = true;
    const hearing = heard;
    heard = [];
    try {
      await attempt();
      failures = 0;
      hearing.forEach((hear) => hear());
    } catch (error) {
      heard.unshift(...hearing);
      failures += 1;
      isWaiting = true;
      timer = env.setTimer(look, waitAfter(failures, error, env.random()));
    } finally {
      isRunning = false;
    }
    if (!isWaiting && heard.length > 0) {
      // Asked for meanwhile: what this try found may be older than what it was asked for.
      await run();
    }
  }

  function look() {
    if (isWaiting && !isRunning && env.isVisible()) {
      void run();
    }
  }

  addEventListener("online", look);
  document.addEventListener("visibilitychange", look);
  return () =>
    /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        heard.push(resolve);
        if (!isRunning) {
          void run();
        }
      })
    );
}
