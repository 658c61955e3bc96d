/** Columns over time. */

import { INK, QUIET, drawing, label, line, svg, ticks } from "./svg.js";

/** @typedef {{begin: string, value: number | null, isTooFew: boolean}} Column `begin`: shown on the axis */

const HEIGHT = 190;
const TOP = 26;
const WIDEST = 48;
const DATE_PX = 76;

/** @param {number} width @param {Column[]} columns @param {string} unit */
export function columns(width, columns, unit) {
  const marks = ticks(Math.max(...columns.map((each) => each.value ?? 0)));
  const end = marks.at(-1) ?? 1;
  const left = 14 + 8 * Math.max(...marks.map((mark) => mark.toLocaleString("en").length));
  const y = (/** @type {number} */ value) => TOP + (1 - value / end) * (HEIGHT - TOP);
  const step = Math.min((width - left - 4) / columns.length, WIDEST);
  /** @type {SVGElement[]} */
  const children = [label(unit, 0, 12, { size: 12, colour: QUIET })];
  for (const mark of marks) {
    children.push(line(left, y(mark), width, y(mark)));
    children.push(label(mark.toLocaleString("en"), left - 6, y(mark) + 4, { size: 12, colour: QUIET, anchor: "end" }));
  }
  const few = { fill: "#ffffff", stroke: "#6b7683", "stroke-dasharray": "3 2" };
  columns.forEach((column, index) => {
    if (column.value === null) return;
    const bar = { x: left + index * step + 2, y: y(column.value), width: Math.max(step - 4, 1), height: HEIGHT - y(column.value) };
    children.push(svg("rect", { ...bar, ...(column.isTooFew ? few : { fill: "#0b6e5f" }) }));
  });
  children.push(line(left, HEIGHT, width, HEIGHT, { stroke: INK }));
  // Only as many dates as fit.
  const every = Math.ceil(DATE_PX / step);
  columns.forEach((column, index) => {
    if (index % every === 0 && left + index * step + DATE_PX <= width + 8)
      children.push(label(column.begin, left + index * step + 2, HEIGHT + 16, { size: 12, colour: QUIET }));
  });
  return drawing(width, HEIGHT + 24, children);
}
