/** Bars over days, and numbers that count to where they stand. */

import { h, svg } from "../dom.js";
import { count, date, money, sum } from "../format.js";

const HEIGHT = 56;
const LOWEST = 2;
const COUNT_MS = 500;

/**
 * Draw what was paid each day, and beneath the line what was given back.
 *
 * @param {{day: string, paid: string | number, refunded: string | number}[]} days
 * @param {string} currency
 */
export function dayBars(days, currency) {
  const most = Math.max(...days.map(({ paid }) => Number(paid)), ...days.map(({ refunded }) => Number(refunded)), 0);
  const best = days.reduce((one, other) => (Number(other.paid) > Number(one.paid) ? other : one), days[0]);
  const total = money(sum(days.map(({ paid }) => paid)), currency);
  const label = most > 0
    ? `Paid on each of the last ${days.length} days, ${total} in all; most on ${date(best.day)}: ${money(best.paid, currency)}`
    : `Nothing was paid in the last ${days.length} days`;
  const wide = 100 / days.length;
  return svg(
    "svg",
    { role: "img", "aria-label": label, class: "bars", width: "100%", height: HEIGHT + 10 },
    svg("line", { x1: 0, x2: "100%", y1: HEIGHT - 8, y2: HEIGHT - 8, class: "bars-line" }),
    days.map(({ day, paid, refunded }, number) => {
      const x = `${(number * wide + wide * 0.15).toFixed(2)}%`;
      const width = `${(wide * 0.7).toFixed(2)}%`;
      const up = most > 0 ? heightOf(Number(paid) / most, HEIGHT - 14) : 0;
      const down = most > 0 ? heightOf(Number(refunded) / most, 16) : 0;
      return svg(
        "g",
        {},
        svg("title", {}, `${date(day)}: ${money(paid, currency)} paid, ${money(refunded, currency)} given back`),
        // The whole column answers to the pointer.
        svg("rect", { x, width, y: 0, height: HEIGHT + 10, class: "bars-touch" }),
        up > 0 && svg("rect", { x, width, y: HEIGHT - 8 - up, height: up, rx: 1.5, class: "bar-paid" }),
        down > 0 && svg("rect", { x, width, y: HEIGHT - 8, height: down, rx: 1.5, class: "bar-refunded" }),
      );
    }),
  );
}

/** What is more than nothing can be seen. */
function heightOf(/** @type {number} */ share, /** @type {number} */ full) {
  return share > 0 ? Math.max(LOWEST, Math.round(share * full)) : 0;
}

/** Return a number that counts up or down to where it is set; at once where motion is unwelcome. */
export function movingCount() {
  const node = h("span", { class: "moving" });
  let shown = /** @type {number | null} */ (null);
  let frame = 0;
  return {
    node,
    set(/** @type {number} */ wanted) {
      const from = shown;
      shown = wanted;
      cancelAnimationFrame(frame);
      const isStill = from === null || from === wanted || matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (isStill || document.hidden) {
        node.textContent = count(wanted);
        return;
      }
      const began = performance.now();
      const step = (/** @type {number} */ at) => {
        const share = Math.min(1, (at - began) / COUNT_MS);
        node.textContent = count(Math.round(from + (wanted - from) * share));
        if (share < 1) {
          frame = requestAnimationFrame(step);
        }
      };
      frame = requestAnimationFrame(step);
    },
  };
}
