/** What is shown, as a file for a spreadsheet. */

import { h } from "../dom.js";

// Long enough for the browser to have taken it.
const TAKEN_MS = 60_000;
// A spreadsheet runs what begins so; a number below zero is none of it.
const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^-?\d+(\.\d+)?$/;

/**
 * Return rows as CSV by RFC 4180; cells that a spreadsheet would run begin with an apostrophe.
 *
 * @param {(string | null)[][]} rows the first holds the names of the columns
 */
export function csvOf(rows) {
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function cell(/** @type {string | null} */ value) {
  const text = value ?? "";
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Have the browser save rows; the mark at the beginning tells spreadsheets that it is UTF-8. */
export function saveRows(/** @type {(string | null)[][]} */ rows, /** @type {string} */ name) {
  saveBlob(new Blob(["\uFEFF", csvOf(rows)], { type: "text/csv;charset=utf-8" }), name);
}

/** Have the browser save a file. */
export function saveBlob(/** @type {Blob} */ blob, /** @type {string} */ name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_MS);
}
