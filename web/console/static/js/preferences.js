/** What whoever is signed in prefers, wherever they sign in: colours, and how figures are written. */

import { api } from "./api.js";
import { writeAs } from "./format.js";
import { setTheme } from "./theme.js";

const PREFERENCES = "/me/preferences";

/** Show the page as they prefer it; as it is, where that cannot be asked for. */
export async function usePreferences() {
  let chosen;
  try {
    chosen = await api.get(PREFERENCES);
  } catch {
    return;
  }
  writeAs({ language: chosen.language, timeZone: chosen.time_zone, currencyDisplay: chosen.currency_display });
  setTheme(chosen.theme);
}

/** Keep what colours were chosen. Where that fails they are so in this browser, until the next sign-in. */
export async function keepTheme(/** @type {string} */ theme) {
  try {
    await api.patch(PREFERENCES, { theme });
  } catch {
    // It is shown already, and chosen again by one click.
  }
}

/** Write as the browser does again: nobody is signed in. */
export function forgetPreferences() {
  writeAs({});
}
