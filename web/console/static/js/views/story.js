// A timeline's lines told in sentences, and sorted into the lanes of its drawing.

import { named, toneOf } from "./words.js";

const SUBJECTS = {
  transaction: "Payment", invoice: "Invoice", refund: "Refund", dispute: "Dispute",
};

// What a line is about: the lane in which it is drawn and the filter under which it is found.
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

export const LANE_NAMES = {
  states: "States",
  attempts: "Attempts",
  webhooks: "Webhooks",
  told: "Told",
  other: "Other",
};

const HEADS = {
  begun: "begun",
  attempt: "charged",
  answer: "answered by the provider",
  event: "webhook",
  push: "pushed to browsers",
  notice: "customer notified",
  dunning: "decided",
  cancel: "given up",
  capture: "capture asked for",
  issued: "issued",
  replay: "replayed",
  review: "to be reviewed",
  review_asked: "settlement asked for",
  review_settled: "settled",
  review_refused: "settlement refused",
  earlier_intent: "earlier attempt closed",
  opened: "opened",
  funds_withdrawn: "money taken",
  funds_reinstated: "money given back",
  fee: "fee taken",
};

/** Return the lane of a line. */
export const laneOf = (entry) => LANES[entry.what] ?? "other";

/** Return a line's heading, such as "Payment: Processing → Failed". */
export function headOf(entry) {
  const subject = SUBJECTS[entry.subject] ?? named(entry.subject);
  if (entry.what === "move") return `${subject}: ${named(entry.was)} → ${named(entry.became)}`;
  return `${subject} ${HEADS[entry.what] ?? named(entry.what).toLowerCase()}`;
}

/** Return the tone in which a line is shown. */
export function toneOfLine(entry) {
  if (entry.what === "move") return toneOf(entry.became);
  if (entry.what === "dunning") return toneOf(entry.detail?.state);
  if (["unknown", "review", "review_refused", "funds_withdrawn", "opened"].includes(entry.what)) {
    return "warn";
  }
  return laneOf(entry) === "webhooks" ? "info" : "plain";
}

/** Return what is behind a line, as names and values; empty where nothing is known. */
export function causesOf(entry) {
  return [
    ["Request", entry.request_id],
    ["Task", entry.task_id],
    ["Attempt", entry.attempt_id],
    ["Provider's request", entry.provider_request_id],
    ["Provider's event", entry.event_id],
    ["Person", entry.user_id],
    [SUBJECTS[entry.subject] ?? named(entry.subject), entry.subject_id],
    ...Object.entries(entry.detail ?? {}).map(([name, value]) => [named(name), told(value)]),
  ].filter(([, value]) => value !== null && value !== undefined);
}

const told = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
