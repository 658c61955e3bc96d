/** Numbers for people. */

const SQUARE_FEET = 10.763910416709722;

/** @param {number} area_m2 */
export function area(area_m2) {
  const digits = { maximumFractionDigits: area_m2 < 100 ? 1 : 0 };
  const feet = Math.round(area_m2 * SQUARE_FEET).toLocaleString("en");
  return `${area_m2.toLocaleString("en", digits)} m² (${feet} sq ft)`;
}
