/** Numbers in words: never surer than they are. */

/** @typedef {import("./figures_data.js").Interval} Interval */

/** @param {number} value */
export function count(value) {
  return value.toLocaleString("en");
}

/** @param {number} share of 0..1 */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** "+4 %", "−12 %". @param {number} share */
export function signed(share) {
  const rounded = Math.round(share * 100);
  return `${rounded > 0 ? "+" : rounded < 0 ? "−" : ""}${Math.abs(rounded)} %`;
}

/** With the two digits that an estimate has. @param {number} value */
export function rough(value) {
  if (value >= 99.5) return count(Number(value.toPrecision(2)));
  return value >= 9.5 ? String(Math.round(value)) : String(Number(value.toFixed(1)));
}

/** "84 % (71–92 %), n = 43", or what is missing. @param {Interval} interval @param {number} n @param {number} fewest */
export function share(interval, n, fewest) {
  if (interval.estimate === null) return "no answer yet";
  if (n < fewest) return `too few (n = ${n})`;
  return `${percent(interval.estimate)} (${Math.round(interval.low * 100)}–${percent(interval.high)}), n = ${count(n)}`;
}
