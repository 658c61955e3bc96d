/** What a chart must say when it leaves the page: whose figures they are, of when, and from how many. */

import { sum } from "./bars.js";
import { decidedOf } from "./review_specs.js";
import { count } from "./words.js";

/** @typedef {import("./figures_data.js").CountyFigures} CountyFigures */

/** @param {CountyFigures} figures @param {string} id of the figure */
export function captionOf(figures, id) {
  const { county, synthetic, segmenters, generated_at: at } = figures;
  return [
    `county ${county}`,
    synthetic ? "synthetic, not a real place" : "",
    segmenters.length ? `measured by ${segmenters.join(", ")}` : "not measured yet",
    `as of ${new Date(at).toISOString().slice(0, 16).replace("T", " ")} UTC`,
    numberOf(figures, id),
  ].filter(Boolean).join(" · "); // prettier-ignore
}

/** How many things a figure is made from. @param {CountyFigures} figures @param {string} id */
function numberOf({ audit, progress, pace }, id) {
  if (id === "properties") return `n = ${count(sum(Object.values(progress.properties_by_state)))} properties`;
  if (id === "progress") return `n = ${count(sum(progress.labels.map((each) => decidedOf(each) + each.undecided)))} detections`;
  if (id === "outcomes") return `n = ${count(sum(progress.labels.map(decidedOf)))} decided detections`;
  if (id === "agreement") return `n = ${count(audit?.agreement.pairs ?? 0)} items with two answers`;
  if (id.startsWith("pace")) return `n = ${count(pace.timed_reviews)} timed reviews`;
  return `n = ${count(audit?.overall.decided ?? 0)} audited detections`;
}
