/** A place in a channel's numbering, as text `<epoch>-<seq>`. */

/** @typedef {{epoch: string, seq: number}} Place */

/** @param {string | null | undefined} text @returns {Place | null} */
export function placeOf(text) {
  const at = text?.lastIndexOf("-") ?? -1;
  const seq = Number(text?.slice(at + 1));
  return text && at > 0 && Number.isSafeInteger(seq) ? { epoch: text.slice(0, at), seq } : null;
}

/** @param {Place | null} place */
export function textOf(place) {
  return place && `${place.epoch}-${place.seq}`;
}

/**
 * What the event with this id is to who stands at `last`.
 *
 * @param {Place | null} last
 * @param {Place | null} next
 * @returns {"next" | "known" | "hole" | "epoch"}
 */
export function judge(last, next) {
  if (last === null || next === null) {
    return "next";
  }
  if (next.epoch !== last.epoch) {
    return "epoch";
  }
  if (next.seq === last.seq + 1) {
    return "next";
  }
  return next.seq <= last.seq ? "known" : "hole";
}
