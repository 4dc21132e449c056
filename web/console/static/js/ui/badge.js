/** A status as a word in a colour; the word alone says it. */

import { h } from "../dom.js";
import { status, tone } from "../format.js";

/**
 * @param {string} word a status of the API
 * @param {{text?: string, tone?: string}} [options]
 */
export function badge(word, options = {}) {
  const text = options.text ?? status(word);
  return h("span", { class: `badge ${options.tone ?? tone(word)}`, dataset: { status: word } }, text);
}
