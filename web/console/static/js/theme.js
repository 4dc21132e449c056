/** Light, dark, or as the system is. */

const KEY = "paybeat.theme";
const CHOICES = /** @type {const} */ (["system", "light", "dark"]);

/** Return what was chosen. */
export function theme() {
  const chosen = localStorage.getItem(KEY);
  return CHOICES.find((each) => each === chosen) ?? "system";
}

/** Choose, here and in other tabs. */
export function setTheme(/** @type {string} */ chosen) {
  localStorage.setItem(KEY, chosen);
  apply();
}

/** Go from one choice to the next. */
export function nextTheme() {
  setTheme(CHOICES[(CHOICES.indexOf(theme()) + 1) % CHOICES.length]);
  return theme();
}

/** Show what was chosen. */
function apply() {
  document.documentElement.dataset.theme = theme();
}

addEventListener("storage", (event) => {
  if (event.key === KEY) {
    apply();
  }
});
