/**
 * Where there is no shared worker: the tab that holds the lock leads. It has the socket and tells
 * the others over a channel; when it is gone, however it went, the next in line has the lock and
 * goes on from the last event that it knows itself.
 */

import { Hub, buyTicket } from "./hub.js";

/**
 * @param {object} parts
 * @param {string} parts.name of the user and company
 * @param {string | null} parts.companyId
 * @param {() => string | null} parts.position where this tab stands
 * @param {(message: any) => void} parts.hear
 * @returns {{post: (message: any) => void, again: () => void, stop: () => void, isLeading: () => boolean}}
 */
export function joinByLock({ name, companyId, position, hear }) {
  const channel = new BroadcastChannel(`paybeat.relay ${name}`);
  const me = crypto.randomUUID();
  /** @type {Hub | null} */
  let hub = null;
  let giveUp = () => {};
  let leaving = new AbortController();
  let isOnline = navigator.onLine;

  channel.onmessage = ({ data }) => {
    if (data.to === "leader") {
      answer(data);
    } else if (data.to === "all" || data.to === me) {
      hear(data.message);
    }
  };

  /** @param {{from: string, message: any}} asked */
  function answer({ from, message }) {
    if (hub === null) {
      return;
    }
    if (message.type === "join") {
      channel.postMessage({ to: from, message: hub.state });
    } else {
      hub.hear(message, (said) => channel.postMessage({ to: from, message: said }));
    }
  }

  function tellAll(/** @type {any} */ message) {
    hear(message);
    channel.postMessage({ to: "all", message });
  }

  /** Hold the lock until somebody else must have it. */
  function lead() {
    return new Promise((/** @type {(value: void) => void} */ resolve) => {
      hub = new Hub({
        getTicket: () => buyTicket(companyId),
        post: tellAll,
        since: position(),
        isOnline,
      });
      giveUp = () => {
        hub?.stop();
        hub = null;
        resolve();
      };
      tellAll(hub.state);
      hub.start();
    });
  }

  /** @param {boolean} [steal] from a leader that is frozen */
  function stand(steal = false) {
    leaving = new AbortController();
    const options = steal ? { steal } : { signal: leaving.signal };
    navigator.locks.request(`paybeat.relay ${name}`, options, lead).catch(() => {
      // Stolen, for this tab did not answer, or given up.
      giveUp();
      if (!leaving.signal.aborted) {
        stand();
      }
    });
  }

  function step() {
    leaving.abort();
    giveUp();
  }

  // The browser is about to stop this tab's scripts: let one lead that runs.
  const freeze = () => step();
  const unfreeze = () => stand();
  document.addEventListener("freeze", freeze);
  document.addEventListener("resume", unfreeze);

  stand();
  channel.postMessage({ to: "leader", from: me, message: { type: "join" } });
  return {
    isLeading: () => hub !== null,
    post(message) {
      isOnline = message.type === "online" || (isOnline && message.type !== "offline");
      if (hub) {
        hub.hear(message, hear);
      } else {
        channel.postMessage({ to: "leader", from: me, message });
      }
    },
    again() {
      leaving.abort();
      stand(true);
    },
    stop() {
      document.removeEventListener("freeze", freeze);
      document.removeEventListener("resume", unfreeze);
      step();
      channel.close();
    },
  };
}
