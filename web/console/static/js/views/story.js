/** A payment's timeline told in sentences, and sorted into the lanes of its drawing. */

import { status, tone, words } from "../format.js";

/**
 * A line of `GET /payments/{id}/timeline`.
 *
 * @typedef {object} Entry
 * @property {string} at
 * @property {string} subject
 * @property {string} subject_id
 * @property {string} what
 * @property {string | null} was
 * @property {string | null} became
 * @property {string} why
 * @property {string | null} request_id
 * @property {string | null} task_id
 * @property {string | null} attempt_id
 * @property {string | null} provider_request_id
 * @property {string | null} event_id
 * @property {string | null} user_id
 * @property {Record<string, any> | null} detail
 */

/** @typedef {"states" | "attempts" | "webhooks" | "told" | "other"} Lane */

/** @type {Record<string, string>} */
const SUBJECTS = { transaction: "Payment" };

/** @type {Record<string, Lane>} */
const LANES = {
  move: "states",
  begun: "attempts",
  attempt: "attempts",
  answer: "attempts",
  unknown: "attempts",
  wait: "attempts",
  late: "attempts",
  earlier_intent: "attempts",
  dunning: "attempts",
  event: "webhooks",
  push: "told",
  notice: "told",
};

/** @type {Record<Lane, string>} */
export const LANE_NAMES = {
  states: "States",
  attempts: "Attempts",
  webhooks: "Webhooks",
  told: "Told",
  other: "Other",
};

/** @type {Record<string, string>} */
const HEADS = {
  begun: "begun",
  attempt: "charged",
  answer: "answered by the provider",
  unknown: "outcome unknown",
  event: "heard of by webhook",
  push: "pushed to browsers",
  notice: "told by mail",
  dunning: "decided upon",
  cancel: "given up",
  capture: "to be captured",
  issued: "issued",
  replay: "replayed",
  review: "needs a review",
  review_asked: "settlement asked for",
  review_settled: "settled",
  review_refused: "settlement refused",
  earlier_intent: "closed at the provider, an earlier attempt",
  opened: "opened",
  funds_withdrawn: "took money",
  funds_reinstated: "gave money back",
  fee: "cost a fee",
  asked: "told to the provider",
  change: "changed",
  deletion: "deleted",
  credit: "credited",
  credit_reversal: "credited no more",
};

const ALARMING = ["unknown", "review", "review_refused", "funds_withdrawn", "opened"];

/** Return what a line is about. */
export function laneOf(/** @type {Entry} */ entry) {
  return LANES[entry.what] ?? "other";
}

/** Return a line's heading, such as "Payment: Processing → Failed". */
export function headOf(/** @type {Entry} */ entry) {
  const subject = subjectOf(entry);
  if (entry.what === "move") {
    return `${subject}: ${status(entry.was ?? "")} → ${status(entry.became ?? "")}`;
  }
  return `${subject} ${HEADS[entry.what] ?? words(entry.what).toLowerCase()}`;
}

/** Return how a line is felt. */
export function toneOf(/** @type {Entry} */ entry) {
  if (entry.what === "move") {
    return tone(entry.became ?? "");
  }
  if (entry.what === "dunning") {
    return entry.detail?.state === "cleared" ? "good" : "warn";
  }
  if (entry.what === "answer") {
    return tone(entry.detail?.status ?? "");
  }
  if (ALARMING.includes(entry.what)) {
    return "warn";
  }
  return laneOf(entry) === "webhooks" ? "busy" : "calm";
}

/** Return who or what is behind a line, as names with values. */
export function causesOf(/** @type {Entry} */ entry) {
  /** @type {[string, string | null][]} */
  const causes = [
    ["Request", entry.request_id],
    ["Task", entry.task_id],
    ["Attempt", entry.attempt_id],
    ["Provider's request", entry.provider_request_id],
    ["Provider's event", entry.event_id],
    ["Person", entry.user_id],
    [subjectOf(entry), entry.subject_id],
  ];
  /** @type {[string, string][]} */
  const details = Object.entries(entry.detail ?? {}).map(([name, value]) => [
    words(name),
    typeof value === "object" ? JSON.stringify(value) : String(value),
  ]);
  return [...causes, ...details].filter(([, value]) => value !== null);
}

function subjectOf(/** @type {Entry} */ entry) {
  return SUBJECTS[entry.subject] ?? words(entry.subject);
}
