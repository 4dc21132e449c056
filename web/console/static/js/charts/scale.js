/** Where values stand in a drawing. These are places on a screen; amounts stay decimal text elsewhere. */

const STEPS = [1, 2, 2.5, 5, 10];
// What a division of floats may add to a step that is exact.
const DUST = 1e-9;

/**
 * Return round marks that hold all values, from the lowest to the highest.
 *
 * @param {number[]} values
 * @param {object} [options]
 * @param {number} [options.wanted] about how many
 * @param {boolean} [options.isWhole] there is nothing between 1 and 2
 * @param {number} [options.top] no mark stands above it
 * @returns {number[]}
 */
export function marksOf(values, { wanted = 4, isWhole = false, top = Infinity } = {}) {
  const least = Math.min(0, ...values);
  const most = Math.min(top, Math.max(0, ...values) || (least < 0 ? 0 : 1));
  const step = stepOf((most - least) / wanted, isWhole);
  const first = Math.floor(least / step + DUST);
  const last = Math.ceil(most / step - DUST);
  const marks = Array.from({ length: last - first + 1 }, (_, n) => rounded((first + n) * step));
  return marks.filter((each) => each <= top + DUST);
}

/** @param {number} rough @param {boolean} isWhole */
function stepOf(rough, isWhole) {
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * (STEPS.find((each) => each * size >= rough * (1 - DUST)) ?? 10);
  return isWhole ? Math.max(1, Math.ceil(step)) : step;
}

function rounded(/** @type {number} */ value) {
  return Number(value.toPrecision(12));
}

/**
 * Return what tells where a value stands.
 *
 * @param {number} low @param {number} high of the values
 * @param {number} from @param {number} to of the drawing
 * @returns {(value: number) => number}
 */
export function linear(low, high, from, to) {
  const size = high - low || 1;
  return (value) => from + ((value - low) / size) * (to - from);
}

/**
 * Return which of `count` labels are shown, so that they do not touch: every nth, the last one always.
 *
 * @param {number} count
 * @param {number} room how many there is room for
 * @returns {number[]} their places
 */
export function thinned(count, room) {
  const every = Math.max(1, Math.ceil(count / Math.max(1, room)));
  const places = [];
  for (let place = count - 1; place >= 0; place -= every) {
    places.unshift(place);
  }
  return places;
}
