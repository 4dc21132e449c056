/** Icons, drawn here: paths on a grid of 24, stroked in the colour of the text. */

import { svg } from "../dom.js";

/** @type {Record<string, string[]>} */
const PATHS = {
  overview: ["M4 13h6V4H4z", "M14 20h6v-9h-6z", "M4 20h6v-3H4z", "M14 7h6V4h-6z"],
  card: ["M3 6h18v12H3z", "M3 10h18", "M7 15h3"],
  invoice: ["M6 3h9l4 4v14H6z", "M14 3v5h5", "M9 13h7", "M9 17h5"],
  wallet: ["M4 7h14a2 2 0 0 1 2 2v9H5a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2h11", "M16 13h1"],
  dispute: ["M12 3l9 16H3z", "M12 10v4", "M12 16.5v.5"],
  dead: ["M4 7l8 6 8-6", "M4 6h16v12H4z", "M9 21l6-6", "M15 21l-6-6"],
  people: ["M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z", "M2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6", "M16 4.500a3.5 3.5 0 0 1 0 6.5", "M18 14.500c2 .8 3.2 2.7 3.5 5.5"],
  health: ["M3 12h4l2.5-6 4 13 2.5-7h5"],
  alert: ["M12 4a6 6 0 0 1 6 6v4l2 3H4l2-3v-4a6 6 0 0 1 6-6z", "M10 20h4"],
  sandbox: ["M9 3h6", "M10 3v6l-5 9a2 2 0 0 0 2 3h10a2 2 0 0 0 2-3l-5-9V3", "M8 15h8"],
  menu: ["M4 6h16", "M4 12h16", "M4 18h16"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z", "M16 16l5 5"],
  refresh: ["M20 11a8 8 0 0 0-14.5-4L3 9.5", "M3 4v5.500h5.5", "M4 13a8 8 0 0 0 14.5 4l2.5-2.5", "M21 20v-5.500h-5.5"],
  retry: ["M20 11a8 8 0 1 1-2.5-5.500L20 8", "M20 3v5h-5"],
  refund: ["M9 8H4V3", "M4 8a9 9 0 1 1-1 6"],
  check: ["M5 12.500l5 5 9-11"],
  plus: ["M12 5v14", "M5 12h14"],
  clock: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z", "M12 7v5l3.5 2"],
  out: ["M14 4h5v16h-5", "M4 12h11", "M11 8l4 4-4 4"],
  sun: ["M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z", "M12 2v2", "M12 20v2", "M2 12h2", "M20 12h2", "M5 5l1.4 1.4", "M17.6 17.600L19 19", "M19 5l-1.4 1.4", "M6.4 17.600L5 19"],
  moon: ["M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z"],
  system: ["M3 5h18v11H3z", "M9 20h6", "M12 16v4"],
  company: ["M5 21V4h9v17", "M14 9h5v12", "M8 8h3", "M8 12h3", "M8 16h3", "M3 21h18"],
  chart: ["M4 4v16h16", "M8 16v-4", "M12 16V8", "M16 16v-6"],
  list: ["M8 6h12", "M8 12h12", "M8 18h12", "M4 6h.5", "M4 12h.5", "M4 18h.5"],
  download: ["M12 4v11", "M7 11l5 5 5-5", "M4 20h16"],
  external: ["M14 4h6v6", "M20 4l-9 9", "M18 14v6H4V6h6"],
  chevron: ["M9 6l6 6-6 6"],
  bolt: ["M13 3L5 14h6l-1 7 8-11h-6z"],
  logo: ["M5 20V5h8a5 5 0 0 1 0 10H9", "M9 10h4"],
};

/**
 * Return an icon; without a label it is an ornament that screen readers pass over.
 *
 * @param {string} name
 * @param {{label?: string, class?: string}} [options]
 * @returns {SVGElement}
 */
export function icon(name, options = {}) {
  const { label } = options;
  const paths = PATHS[name] ?? PATHS.chevron;
  return svg(
    "svg",
    {
      viewBox: "0 0 24 24",
      class: `icon ${options.class ?? ""}`.trim(),
      "aria-hidden": label ? null : "true",
      role: label ? "img" : null,
      "aria-label": label,
      focusable: "false",
    },
    paths.map((d) => svg("path", { d })),
  );
}
