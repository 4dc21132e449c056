/**
 * The shared worker: one socket for all tabs of a user and a company. A tab that is gone lets go of
 * its lock, and so is known to be gone however it went. The worker has one too, named to each tab by
 * {type: "life", lock}: it runs in the process of some tab, and goes without a word if that crashes.
 */

import { Hub, buyTicket } from "./hub.js";

// Without tabs for as long, the worker ends; who reloads finds it again.
const LINGER_MS = 10_000;

/** @type {Map<MessagePort, string>} */
const ports = new Map();
/** @type {Hub | null} */
let hub = null;
/** @type {any} */
let lingering = null;

const life = `paybeat.worker ${crypto.randomUUID()}`;
const isAlive = new Promise((/** @type {(value: void) => void} */ resolve) => {
  void navigator.locks.request(life, () => {
    resolve();
    return new Promise(() => {});
  });
});

addEventListener("connect", (event) => {
  const port = /** @type {MessageEvent} */ (event).ports[0];
  port.onmessage = ({ data }) => {
    if (data.type === "join") {
      join(port, data);
    } else if (data.type === "leave") {
      leave(port);
    } else {
      hub?.hear(data, (answer) => port.postMessage(answer));
    }
  };
});

/**
 * @param {MessagePort} port
 * @param {{companyId: string | null, lock: string, since: string | null, isOnline: boolean}} told
 */
function join(port, { companyId, lock, since, isOnline }) {
  clearTimeout(lingering);
  if (hub === null) {
    hub = new Hub({ getTicket: () => buyTicket(companyId), post: tellAll, since, isOnline });
    hub.start();
  }
  for (const [known, held] of ports) {
    // The same tab, which waited long for an answer.
    if (held === lock) {
      ports.delete(known);
    }
  }
  ports.set(port, lock);
  port.postMessage(hub.state);
  tellAll({ type: "tabs", count: ports.size });
  void navigator.locks.request(lock, () => leave(port));
  // Not before it is held: who asks for it then waits for the worker's end.
  void isAlive.then(() => port.postMessage({ type: "life", lock: life }));
}

function leave(/** @type {MessagePort} */ port) {
  if (!ports.delete(port)) {
    return;
  }
  port.close();
  tellAll({ type: "tabs", count: ports.size });
  if (ports.size === 0) {
    // At once: a session that has ended has no socket.
    hub?.stop();
    hub = null;
    lingering = setTimeout(() => close(), LINGER_MS);
  }
}

function tellAll(/** @type {any} */ message) {
  for (const port of ports.keys()) {
    port.postMessage(message);
  }
}
