/** Estimates with their intervals: a dot and a line for each row, on one axis. */

import { GRID, INK, QUIET, drawing, fitting, label, line, svg, textWidth } from "./svg.js";

/**
 * @typedef {object} IntervalRow
 * @property {string} name
 * @property {string} value what is known, in words
 * @property {number | null} estimate null where nothing or too little is known
 * @property {number} low
 * @property {number} high
 */

const ROW = 44;
const COLOUR = "#0b6e5f";

/**
 * @param {number} width @param {IntervalRow[]} rows
 * @param {{from: number, to: number, marks: number[], show: (value: number) => string, unit: string, reference?: number}} axis
 */
export function intervals(width, rows, { from, to, marks, show, unit, reference }) {
  const scale = (/** @type {number} */ value) => 7 + ((Math.min(Math.max(value, from), to) - from) / (to - from)) * (width - 14);
  const bottom = rows.length * ROW + 4;
  /** @type {SVGElement[]} */
  const children = [];
  for (const mark of marks) {
    const shown = show(mark);
    const x = scale(mark);
    const half = textWidth(shown, 12) / 2;
    /** @type {import("./svg.js").Attributes} */
    const stroke = mark === reference ? { stroke: INK, "stroke-dasharray": "2 3" } : { stroke: GRID };
    rows.forEach((_, index) => children.push(line(x, index * ROW + 20, x, index * ROW + 40, stroke)));
    children.push(label(shown, Math.min(Math.max(x, half), width - half), bottom + 13, { size: 12, colour: QUIET, anchor: "middle" }));
  }
  children.push(label(unit, width, bottom + 31, { size: 12, colour: QUIET, anchor: "end" }));
  rows.forEach((row, index) => {
    const top = index * ROW;
    children.push(label(fitting(row.name, width - textWidth(row.value, 12) - 12, 13, 600), 0, top + 14, { weight: 600 }), label(row.value, width, top + 14, { size: 12, colour: QUIET, anchor: "end" }));
    if (row.estimate === null) return;
    const y = top + 30;
    children.push(line(scale(row.low), y, scale(row.high), y, { stroke: COLOUR, "stroke-width": 3 }));
    // An interval that goes on beyond the axis has an arrow there.
    if (row.high > to) children.push(svg("path", { d: `M${width - 7} ${y - 5}l6 5-6 5z`, fill: COLOUR }));
    if (row.low < from) children.push(svg("path", { d: `M7 ${y - 5}l-6 5 6 5z`, fill: COLOUR }));
    children.push(svg("circle", { cx: scale(row.estimate), cy: y, r: 6, fill: COLOUR, stroke: "#ffffff", "stroke-width": 2 }));
  });
  return drawing(width, bottom + 38, children);
}
