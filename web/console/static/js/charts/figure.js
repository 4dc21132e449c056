/**
 * A drawing that answers: by the pointer, and by keys and screen readers through a slider that goes
 * from value to value and says each.
 */

import { h, replace, svg } from "../dom.js";
import { draw } from "./draw.js";

const HEIGHT = 190;
const LEAST_WIDTH = 200;
const TIP_GAP = 12;

/**
 * @typedef {object} Shown
 * @property {import("./draw.js").Drawing} drawing
 * @property {string} name of the chart
 * @property {(place: number) => {title: string, lines: {text: string, swatch: string}[]}} tell
 */

/**
 * Return a figure; it draws itself anew where its width changes.
 *
 * @param {AbortSignal} signal ends it
 */
export function figure(signal) {
  const slider = /** @type {HTMLInputElement} */ (h("input", { type: "range", class: "visually-hidden", min: 0, step: 1 }));
  const stage = h("div", { class: "chart-stage" });
  const tip = h("div", { class: "chart-tip", "aria-hidden": "true", hidden: true });
  const node = h("figure", { class: "chart-figure" }, stage, slider, tip);
  /** @type {Shown | null} */
  let shown = null;
  /** @type {ReturnType<typeof draw> | null} */
  let drawn = null;
  /** @type {any} */
  let cursor = null;
  let width = 0;

  function redraw() {
    if (shown === null || width < LEAST_WIDTH) {
      return;
    }
    drawn = draw(shown.drawing, { width, height: HEIGHT });
    cursor = svg("line", { y1: drawn.plot.top, y2: drawn.plot.bottom, class: "chart-cursor", visibility: "hidden" });
    drawn.node.append(cursor);
    replace(stage, drawn.node);
    if (document.activeElement === slider) {
      point(Number(slider.value));
    } else {
      leave();
    }
  }

  /** Mark a value and tell it. */
  function point(/** @type {number} */ place) {
    const x = drawn?.places[place];
    if (!shown || !drawn || x === undefined) {
      return;
    }
    const { title, lines } = shown.tell(place);
    for (const [name, value] of Object.entries({ x1: x, x2: x, visibility: "visible" })) {
      cursor.setAttribute(name, String(value));
    }
    replace(tip, h("strong", null, title), lines.map((each) => h("span", null, h("i", { class: `swatch ${each.swatch}` }), each.text)));
    tip.hidden = false;
    const isLeft = x > width / 2;
    tip.style.left = isLeft ? "auto" : `${x + TIP_GAP}px`;
    tip.style.right = isLeft ? `${width - x + TIP_GAP}px` : "auto";
    slider.value = String(place);
    slider.setAttribute("aria-valuetext", [title, ...lines.map((each) => each.text)].join(", "));
  }

  function leave() {
    tip.hidden = true;
    cursor?.setAttribute("visibility", "hidden");
  }

  slider.addEventListener("input", () => point(Number(slider.value)));
  slider.addEventListener("focus", () => point(Number(slider.value)));
  slider.addEventListener("blur", leave);
  node.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (drawn) {
      point(nearest(drawn.places, event.clientX - stage.getBoundingClientRect().left));
    }
  });
  node.addEventListener("pointerleave", () => (document.activeElement === slider ? point(Number(slider.value)) : leave()));
  const watching = new ResizeObserver(([{ contentRect }]) => {
    if (Math.round(contentRect.width) !== width) {
      width = Math.round(contentRect.width);
      redraw();
    }
  });
  watching.observe(stage);
  signal.addEventListener("abort", () => watching.disconnect());
  return {
    node,
    show(/** @type {Shown} */ given) {
      const last = given.drawing.labels.length - 1;
      const isOther = slider.max !== String(last);
      shown = given;
      slider.max = String(last);
      slider.setAttribute("aria-label", `${given.name}, value by value`);
      if (isOther || document.activeElement !== slider) {
        slider.value = String(last);
        const { title, lines } = given.tell(last);
        slider.setAttribute("aria-valuetext", [title, ...lines.map((each) => each.text)].join(", "));
      }
      redraw();
    },
  };
}

/** @param {number[]} places @param {number} x */
function nearest(places, x) {
  let best = 0;
  places.forEach((each, n) => {
    if (Math.abs(each - x) < Math.abs(places[best] - x)) {
      best = n;
    }
  });
  return best;
}
