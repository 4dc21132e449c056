/** What the server tells the page of itself, read once. */

import { NetworkError, api } from "./api.js";
import { hearTime } from "./clock.js";
import { store } from "./store.js";

/** Read it unless it is known; an error's body is none. */
export async function readConfig() {
  if (store.get().config === null) {
    const config = await api.get("/console/config.json");
    if (typeof config?.now !== "string") {
      throw new NetworkError();
    }
    hearTime(config.now);
    store.set({ config });
  }
}
