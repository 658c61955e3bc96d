/** The reliability diagram: the share that is right by score, and how many answers each bin has. */

import { INK, QUIET, drawing, label, line, svg } from "./svg.js";

/** @typedef {import("./figures_data.js").CalibrationBin} CalibrationBin */

const LEFT = 46;
const TOP = 26;
const COUNTS = 54;
const MOST_PX = 360;

/** @param {number} width @param {CalibrationBin[]} bins @param {number} fewest answers below which a bin is only outlined */
export function reliability(width, bins, fewest) {
  const size = Math.min(width - LEFT - 10, MOST_PX);
  const x = (/** @type {number} */ score) => LEFT + score * size;
  const y = (/** @type {number} */ share) => TOP + (1 - share) * size;
  const children = [label("share that is right", 0, 12, { size: 12, colour: QUIET })];
  for (const mark of [0, 0.25, 0.5, 0.75, 1]) {
    children.push(line(x(0), y(mark), x(1), y(mark)), line(x(mark), y(0), x(mark), y(1)));
    children.push(label(`${mark * 100} %`, LEFT - 6, y(mark) + 4, { size: 12, colour: QUIET, anchor: "end" }));
    children.push(label(String(mark), x(mark), y(0) + 16, { size: 12, colour: QUIET, anchor: "middle" }));
  }
  children.push(line(x(0), y(0), x(1), y(1), { stroke: INK, "stroke-dasharray": "5 4" }));
  for (const bin of bins) children.push(...makeBin(bin, x, y, bin.decided < fewest));
  children.push(label("score (dashed: as often right as it says)", x(1), y(0) + 34, { size: 12, colour: QUIET, anchor: "end" }));
  const base = TOP + size + 44 + COUNTS;
  const most = Math.max(...bins.map((bin) => bin.decided), 1);
  for (const bin of bins) {
    const height = (bin.decided / most) * (COUNTS - 14);
    const left = x(bin.low) + 1;
    const wide = size / bins.length - 2;
    children.push(svg("rect", { x: left, y: base - height, width: wide, height, fill: "#6b7683" }));
    if (bin.decided) children.push(label(String(bin.decided), left + wide / 2, base - height - 3, { size: 11, anchor: "middle" }));
  }
  children.push(line(x(0), base, x(1), base, { stroke: INK }));
  children.push(label("number of answers by score", x(1), base + 15, { size: 12, colour: QUIET, anchor: "end" }));
  return drawing(width, base + 22, children);
}

/** @param {CalibrationBin} bin @param {(score: number) => number} x @param {(share: number) => number} y @param {boolean} isTooFew */
function makeBin(bin, x, y, isTooFew) {
  const { estimate, low, high } = bin.correct;
  if (estimate === null || bin.mean_score === null) return [];
  const colour = isTooFew ? "#8793a1" : "#0b6e5f";
  const cx = x(bin.mean_score);
  const dot = isTooFew ? { fill: "#ffffff", stroke: colour } : { fill: colour, stroke: "#ffffff" };
  return [
    line(cx, y(low), cx, y(high), { stroke: colour, "stroke-width": isTooFew ? 1.5 : 3 }),
    svg("circle", { cx, cy: y(estimate), r: 6, "stroke-width": 2, ...dot }),
  ];
}
