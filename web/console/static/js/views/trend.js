/** How many breaks the runs of each day have found: one chart, of the runs that the list shows. */

import { card } from "../charts/card.js";
import { daysOf, plusDays } from "../charts/periods.js";
import { today } from "../format.js";

const DAYS = 30;
/** @type {import("../charts/series.js").Kind} */
const KIND = {
  id: "breaks",
  title: "Breaks opened a day",
  about: "Breaks that were opened by the runs of a day.",
  metrics: ["breaks"],
  unit: "count",
  drawing: "columns",
  better: "down",
  nothing: "No breaks in these days",
  advice: "The provider's book and ours agree.",
};

/** Return the chart's card. */
export function trend(/** @type {AbortSignal} */ signal) {
  const { node, show } = card(KIND, signal);
  return {
    node,
    /** Show what a list of runs tells. */
    show(/** @type {any} */ result) {
      const to = today();
      const from = plusDays(to, 1 - DAYS);
      const data = result.data ? { data: [seriesOf(result.data.data, from, to)] } : undefined;
      show({ ...result, data, isPrevious: false }, { from, to, range: "30d", granularity: "day", isCompared: false });
    },
  };
}

/** @param {any[]} runs @param {string} from @param {string} to */
function seriesOf(runs, from, to) {
  const found = new Map();
  for (const run of runs) {
    const day = today(Date.parse(run.created_at));
    found.set(day, (found.get(day) ?? 0) + run.opened);
  }
  const points = Array.from({ length: daysOf(from, to) }, (_, n) => plusDays(from, n)).map((date) => ({ date, value: String(found.get(date) ?? 0) }));
  const total = points.reduce((sum, { value }) => sum + Number(value), 0);
  return { metric: "breaks", currency: "", dimension: "", points, total: String(total) };
}
