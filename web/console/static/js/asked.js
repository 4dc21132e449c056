/** What a query is doing: the fetch of one key, its retries, and what it must do next. */

import { waitAfter } from "./again.js";

/** @typedef {import("./query.js").Key} Key */
/** @typedef {(context: {signal: AbortSignal}) => Promise<any>} Fetcher */

/**
 * What is known of a key; lies in the store.
 *
 * @typedef {object} Entry
 * @property {Key} key
 * @property {any} data
 * @property {any} error
 * @property {number} updatedAt
 * @property {boolean} isFetching
 * @property {boolean} isInvalid
 */

const STALE_MS = 30_000;
// Tries that fail before anybody is told; it is tried on by itself all the same.
const UNTOLD = 3;

/** One key with its fetcher, its watchers and what it is doing. */
export class Asked {
  /**
   * @param {ReturnType<typeof import("./query.js").createQueries>["core"]} core
   * @param {string} id
   * @param {Key} key
   * @param {Fetcher} fetcher
   * @param {{staleMs?: number}} options
   */
  constructor(core, id, key, fetcher, options) {
    this.core = core;
    this.id = id;
    this.key = key;
    this.fetcher = fetcher;
    this.staleMs = options.staleMs ?? STALE_MS;
    /** @type {Set<object>} */
    this.watchers = new Set();
    /** @type {AbortController | null} */
    this.controller = null;
    /** @type {Promise<void> | null} */
    this.running = null;
    /** @type {any} */
    this.timer = null;
    this.failures = 0;
    this.askedAt = 0;
    this.mustAskAgain = false;
    // What is being asked was so before something changed.
    this.isSpoilt = false;
    this.waitsForNetwork = false;
    // A try by itself after a failure was told: what is shown stays as it is until something changes.
    this.isQuiet = false;
  }

  /** @returns {Entry} */
  get entry() {
    return this.core.entryOf(this.id);
  }

  get isStale() {
    const { updatedAt, isInvalid } = this.entry;
    return isInvalid || updatedAt === 0 || this.core.env.now() - updatedAt >= this.staleMs;
  }

  /** Ask now; who asks meanwhile waits for the same answer. */
  fetch({ isQuiet = false } = {}) {
    if (this.running === null) {
      this.stopTimer();
      this.isQuiet = isQuiet;
      const running = this.run().finally(() => {
        // Unless it was aborted, and another runs by now.
        if (this.running === running) {
          this.running = null;
          this.askAgain();
        }
      });
      this.running = running;
    }
    return this.running;
  }

  async run() {
    const controller = new AbortController();
    this.controller = controller;
    this.askedAt = this.core.env.now();
    this.mustAskAgain = false;
    this.isSpoilt = false;
    this.waitsForNetwork = false;
    if (!this.isQuiet) {
      this.core.patch(this, { isFetching: true });
    }
    try {
      const data = await this.fetcher({ signal: controller.signal });
      if (!controller.signal.aborted) {
        this.succeed(data);
      }
    } catch (error) {
      if (!controller.signal.aborted) {
        this.fail(error);
      }
    } finally {
      if (this.controller === controller) {
        this.controller = null;
      }
    }
  }

  succeed(/** @type {any} */ data) {
    this.failures = 0;
    this.core.patch(this, {
      data,
      error: null,
      updatedAt: this.core.env.now(),
      isFetching: false,
      // Asked before something changed: the answer may be from before it.
      isInvalid: this.isSpoilt,
    });
  }

  fail(/** @type {any} */ error) {
    this.failures += 1;
    this.waitsForNetwork = Boolean(error?.isPassing);
    const willRetry = this.waitsForNetwork && this.watchers.size > 0 && this.core.env.isOnline();
    if (willRetry) {
      const ms = waitAfter(this.failures, error, this.core.env.random());
      this.timer = this.core.env.setTimer(() => this.tryAgain(), ms);
    }
    if (!willRetry || this.failures > UNTOLD) {
      this.tell(error);
    }
  }

  /** Say that it failed, unless just that is shown. */
  tell(/** @type {any} */ error) {
    const { error: told, isFetching } = this.entry;
    if (isFetching || told?.title !== error?.title || told?.detail !== error?.detail) {
      this.core.patch(this, { error, isFetching: false });
    }
  }

  /** Try once more; while nobody looks, once somebody looks again (see `wake`). */
  tryAgain() {
    this.timer = null;
    if (this.core.env.isVisible()) {
      const isTold = Boolean(this.entry.error) && !this.entry.isFetching;
      void this.fetch({ isQuiet: isTold });
    }
  }

  askAgain() {
    if (this.mustAskAgain && this.timer === null) {
      this.askIfLooked();
    }
  }

  /** What is known, or being asked, may have changed. */
  spoil() {
    this.core.patch(this, { isInvalid: true });
    this.isSpoilt = this.running !== null;
  }

  /** Ask again what was spoilt, if anybody looks and it was not asked since. */
  renew() {
    if (this.running !== null) {
      this.mustAskAgain ||= this.isSpoilt;
    } else if (this.entry.isInvalid) {
      this.askIfLooked();
    }
  }

  askIfLooked() {
    if (this.watchers.size > 0 && this.core.env.isVisible()) {
      this.failures = 0;
      void this.fetch();
    }
  }

  /** The network is back, or somebody looks again. */
  wake() {
    if (this.isStale || this.entry.error || this.waitsForNetwork) {
      this.askIfLooked();
    }
  }

  abort() {
    this.stopTimer();
    this.mustAskAgain = false;
    this.controller?.abort();
    this.controller = null;
    // The aborted run ends by itself; whoever comes meanwhile must not wait for it.
    this.running = null;
  }

  stopTimer() {
    this.core.env.clearTimer(this.timer);
    this.timer = null;
  }
}
