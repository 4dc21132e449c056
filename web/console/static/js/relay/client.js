/** The tab's face of the relay: its status in the store, events to who listens. */

import { store } from "../store.js";

/**
 * @typedef {object} RelayStatus
 * @property {"off" | "connecting" | "live" | "waiting" | "offline" | "stopped"} state
 * @property {number | null} until when the next try is made, in milliseconds of the clock
 * @property {number} tabs how many tabs share the socket
 */

/** Return the status in words. */
export function statusInWords(/** @type {RelayStatus} */ status, now = Date.now()) {
  switch (status.state) {
    case "live":
      return "Live";
    case "connecting":
      return "Connecting…";
    case "waiting": {
      const seconds = Math.ceil(((status.until ?? now) - now) / 1000);
      return seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
    }
    case "offline":
      return "This device is offline";
    case "stopped":
      return "Not live: reload the page";
    default:
      return "Not live";
  }
}

/** Begin to listen for who is signed in. */
export function startRelay() {
  store.set({ relay: { state: "off", until: null, tabs: 1 } });
}
