/** The figures of what people did: progress, decisions, pace. */

import { bars, sum } from "./bars.js";
import { columns } from "./columns.js";
import { count, percent, rough } from "./words.js";

/** @typedef {import("./figures_data.js").CountyFigures} CountyFigures */
/** @typedef {import("./figures_data.js").LabelOutcomes} LabelOutcomes */
/** @typedef {import("./figure.js").FigureSpec} FigureSpec */

/** All with at least 4.5:1 to white, for the numbers on them. @type {Record<string, string>} */
const STATES = {
  done: "#1f7a52", pending: "#4d5a69", leased: "#2762a8", deferred: "#8a5a00", failed: "#b3372a", no_imagery: "#6b7683",
}; // prettier-ignore
const OUTCOMES = [
  { name: "accepted as found", colour: "#0b6e5f" },
  { name: "outline edited", colour: "#2762a8" },
  { name: "label changed", colour: "#7a4bb0" },
  { name: "rejected", colour: "#a8321f" },
];
const PROGRESS = [
  { name: "decided", colour: "#0b6e5f" },
  { name: "undecided", colour: "#6b7683" },
];
const FEW_REVIEWS = 10;

/** How many of those that a run found are decided. @param {LabelOutcomes} each */
export function decidedOf(each) {
  return each.accepted + each.edited + each.relabelled + each.rejected + each.deleted;
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofProperties({ progress }) {
  const states = Object.entries(progress.properties_by_state);
  const values = states.map(([, value]) => value);
  const kinds = states.map(([state, value]) => ({ name: `${state.replace("_", " ")} ${count(value)}`, colour: STATES[state] ?? "#6b7683" }));
  const rows = [{ name: "all properties", note: count(sum(values)), values }];
  return {
    id: "properties",
    title: "Properties by state",
    note: `Of those with detections, ${count(progress.properties_decided)} are decided and ${count(progress.properties_undecided)} are not. ${count(progress.properties_fully_reviewed)} are marked as fully reviewed.`,
    draw: (width) => bars(width, kinds, rows, { asShares: false, unit: "properties" }),
    head: ["State", "Properties"],
    rows: states.map(([state, value]) => [state.replace("_", " "), count(value)]),
    summary: states.map(([state, value]) => `${state}: ${count(value)}`).join(", "),
  };
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofProgress({ progress }) {
  const { labels } = progress;
  const found = labels.filter((each) => decidedOf(each) + each.undecided > 0);
  const rows = found.map((each) => {
    const all = decidedOf(each) + each.undecided;
    return { name: each.label, note: `${percent(decidedOf(each) / all)} of ${count(all)}`, values: [decidedOf(each), each.undecided] };
  });
  return {
    id: "progress",
    title: "Detections decided, by label",
    note: found.length ? "Detections that a run found. What people drew is in the table." : "Nothing was detected yet.",
    draw: found.length ? (width) => bars(width, PROGRESS, rows, { asShares: false, unit: "detections" }) : null,
    head: ["Label", "Decided", "Undecided", "Deleted", "Drawn by people"],
    rows: labels.map((each) => [each.label, ...[decidedOf(each), each.undecided, each.deleted, each.drawn].map(count)]),
    summary: rows.map((row) => `${row.name}: ${row.note} decided`).join(", "),
  };
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofOutcomes({ progress, min_decided }) {
  const decided = progress.labels
    .map((each) => ({ name: each.label, values: [each.accepted, each.edited, each.relabelled, each.rejected] }))
    .filter(({ values }) => sum(values) > 0);
  const rows = decided.map((each) => ({ ...each, note: `n = ${count(sum(each.values))}`, isTooFew: sum(each.values) < min_decided }));
  const cells = (/** @type {typeof rows[number]} */ row) =>
    row.values.map((value) => (row.isTooFew ? count(value) : `${count(value)} (${percent(value / sum(row.values))})`));
  return {
    id: "outcomes",
    title: "What people decided, by the label that was found",
    note: decided.length
      ? "Decisions that still hold. They are no error rates of the county: reviewers choose what they look at."
      : "Nobody has decided anything yet.",
    draw: decided.length ? (width) => bars(width, OUTCOMES, rows, { asShares: true, unit: "share of decided detections" }) : null,
    head: ["Label", ...OUTCOMES.map((each) => each.name)],
    rows: rows.map((row) => [row.name, ...cells(row)]),
    summary: rows.map((row) => `${row.name}: ${cells(row).map((cell, index) => `${OUTCOMES[index]?.name} ${cell}`).join(", ")}`).join("; "),
  };
}

/** @param {CountyFigures} figures @param {"day" | "hour"} unit @returns {FigureSpec} */
export function ofPace({ pace }, unit) {
  const isDay = unit === "day";
  const rows = (isDay ? pace.by_day : pace.by_hour).map((each) => ({
    ...each,
    name: isDay ? each.begin.slice(0, 10) : `${each.begin.slice(5, 10)} ${each.begin.slice(11, 16)}`,
    isTooFew: each.reviews < FEW_REVIEWS,
  }));
  const speed = (/** @type {typeof rows[number]} */ each) =>
    each.reviews_per_hour === null ? "not known" : each.isTooFew ? "too few" : rough(each.reviews_per_hour);
  const drawn = rows.map((each) => ({ begin: isDay ? each.name.slice(5) : each.name, value: each.reviews_per_hour, isTooFew: each.isTooFew }));
  const isTimed = rows.some((each) => each.reviews_per_hour !== null);
  return {
    id: `pace-${unit}`,
    title: isDay ? "Reviews an hour, by day" : "Reviews an hour, by hour of the last 48 hours of work",
    note: isTimed
      ? `Of one reviewer's working time: gaps of more than five minutes are pauses. UTC; only ${unit}s with reviews; dashed: fewer than ${FEW_REVIEWS} reviews.`
      : `Not known: in the last ${isDay ? "30 days" : "48 hours of work"} no review followed another within five minutes.`,
    draw: isTimed ? (width) => columns(width, drawn, "reviews an hour") : null,
    head: [isDay ? "Day" : "Hour", "Reviews an hour", "Reviews", "Reviewers", "Reviewer-hours"],
    rows: rows.map((each) => [each.name, speed(each), count(each.reviews), count(each.reviewers), each.reviewer_hours.toFixed(2)]),
    summary: rows.map((each) => `${each.name}: ${speed(each)}`).join(", "),
  };
}
