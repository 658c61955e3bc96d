/** Colours, as in every other picture of Lotline: `pipeline/report/palette.py`. */

/** @type {Record<string, string>} */
const LABELS = {
  lawn: "#a9de1c",
  tree: "#0fb0c6",
  vegetation: "#e667b8",
  driveway: "#9a78f0",
  roof: "#f2573f",
  pool: "#2f72ff",
};
const OTHERS = ["#f58a1f", "#2bbf95", "#d9a514", "#b07a4a", "#d83fc0"];
export const BOUNDARY = { lot: "#ffffff", buffer_30m: "#ffb000" };

/** @param {string} label */
export function labelColour(label) {
  const sum = new TextEncoder().encode(label).reduce((total, byte) => total + byte, 0);
  return LABELS[label] ?? OTHERS[sum % OTHERS.length] ?? "#f58a1f";
}
