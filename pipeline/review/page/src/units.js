/** Numbers for people. */

const SQUARE_FEET = 10.763910416709722;

/** @param {number} area_m2 */
export function area(area_m2) {
  const digits = { maximumFractionDigits: area_m2 < 100 ? 1 : 0 };
  const feet = Math.round(area_m2 * SQUARE_FEET).toLocaleString("en");
  return `${area_m2.toLocaleString("en", digits)} m² (${feet} sq ft)`;
}

/** @param {string} at ISO 8601 */
export function shownTime(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
