/** Bars of parts: each row is a whole, or all rows share one axis of counts. */

import { GRID, QUIET, drawing, fitting, label, line, svg, textWidth, ticks } from "./svg.js";

/**
 * @typedef {{name: string, colour: string}} Kind
 * @typedef {{name: string, note: string, values: number[], isTooFew?: boolean}} BarRow a value for each kind
 */

const LEGEND_LINE = 20;
const ROW = 46;
const BAR = 20;

/**
 * @param {number} width @param {Kind[]} kinds @param {BarRow[]} rows
 * @param {{asShares: boolean, unit: string}} axis `unit`: what is counted
 */
export function bars(width, kinds, rows, { asShares, unit }) {
  const [legend, legendHeight] = makeLegend(width, kinds);
  const largest = asShares ? 1 : Math.max(...rows.map((row) => sum(row.values)), 0);
  const marks = asShares ? [0, 0.25, 0.5, 0.75, 1] : ticks(largest);
  const end = marks.at(-1) ?? 1;
  const scale = (/** @type {number} */ value) => (value / end) * (width - 2) + 1;
  const bottom = legendHeight + rows.length * ROW + 4;
  const children = [...legend];
  for (const mark of marks) {
    const x = scale(mark);
    const anchor = mark === 0 ? "start" : mark === end ? "end" : "middle";
    const shown = asShares ? `${Math.round(mark * 100)} %` : mark.toLocaleString("en");
    rows.forEach((_, index) => {
      const top = legendHeight + index * ROW + 18;
      children.push(line(x, top, x, top + BAR + 4, { stroke: GRID }));
    });
    children.push(label(shown, x, bottom + 13, { size: 12, colour: QUIET, anchor }));
  }
  children.push(label(unit, width, bottom + 31, { size: 12, colour: QUIET, anchor: "end" }));
  rows.forEach((row, index) => children.push(...makeRow(row, kinds, legendHeight + index * ROW, width, asShares, scale)));
  return drawing(width, bottom + 38, children);
}

/**
 * @param {BarRow} row @param {Kind[]} kinds @param {number} top @param {number} width
 * @param {boolean} asShares @param {(value: number) => number} scale
 */
function makeRow(row, kinds, top, width, asShares, scale) {
  const children = [label(fitting(row.name, width - textWidth(row.note, 12) - 12, 13, 600), 0, top + 14, { weight: 600 }), label(row.note, width, top + 14, { colour: QUIET, anchor: "end", size: 12 })];
  const total = sum(row.values);
  if (row.isTooFew || !total) {
    children.push(svg("rect", { x: 1, y: top + 20, width: width - 2, height: BAR, fill: "#ffffff", stroke: "#8793a1", "stroke-dasharray": "4 3" }));
    children.push(label(total ? "too few to show shares" : "none", 8, top + 34, { colour: QUIET, size: 12 }));
    return children;
  }
  let before = 0;
  row.values.forEach((value, index) => {
    if (!value) return;
    const whole = asShares ? total : 1;
    const [left, right] = [scale(before / whole), scale((before + value) / whole)];
    before += value;
    // A gap of white tells neighbours apart without their colours.
    children.push(svg("rect", { x: left, y: top + 20, width: Math.max(right - left - 1, 0.75), height: BAR, fill: kinds[index]?.colour ?? QUIET }));
    const shown = value.toLocaleString("en");
    if (textWidth(shown, 12, 600) + 8 < right - left)
      children.push(label(shown, (left + right) / 2, top + 34, { size: 12, colour: "#ffffff", anchor: "middle", weight: 600 }));
  });
  return children;
}

/** @param {number} width @param {Kind[]} kinds @returns {[SVGElement[], number]} its elements, and its height */
function makeLegend(width, kinds) {
  /** @type {SVGElement[]} */
  const children = [];
  let [x, y] = [0, 0];
  for (const kind of kinds) {
    const own = textWidth(kind.name) + 34;
    if (x > 0 && x + own > width) [x, y] = [0, y + LEGEND_LINE];
    children.push(svg("rect", { x, y: y + 2, width: 12, height: 12, fill: kind.colour }), label(kind.name, x + 17, y + 13));
    x += own;
  }
  return [children, y + LEGEND_LINE + 6];
}

/** @param {number[]} values */
export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
