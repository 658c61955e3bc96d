/** The figures that only the audit's random sample can give: error rates, calibration, agreement. */

import { intervals } from "./intervals.js";
import { reliability } from "./reliability.js";
import { count, percent, share, signed } from "./words.js";

/** @typedef {import("./figures_data.js").CountyFigures} CountyFigures */
/** @typedef {import("./figure.js").FigureSpec} FigureSpec */
/** @typedef {import("./figures_data.js").Audit} Audit */

const SHARES = { from: 0, to: 1, marks: [0, 0.25, 0.5, 0.75, 1], show: percent };
/** Ends of the axis of errors, as shares. */
const REACHES = [0.1, 0.2, 0.5, 1];

/** @param {Audit | null} audit */
function noteOf(audit) {
  if (!audit) return "Not known: only an audit of a random sample can say that, and this county has none yet (lotline review audit start).";
  const { answered, sampled } = audit.overall;
  return `From the audit's random sample alone: ${count(answered)} of ${count(sampled)} items are answered. Lines are 95 % intervals.`;
}

/** By label, and for all of them. @param {Audit | null} audit */
function ratesOf(audit) {
  if (!audit) return [];
  const { overall, by_label } = audit;
  const all = by_label.length > 1 ? [{ name: "all labels", rate: overall }] : [];
  return [...by_label.map((rate) => ({ name: rate.label ?? "", rate })), ...all];
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofPrecision({ audit, min_decided }) {
  const rows = ratesOf(audit).map(({ name, rate }) => {
    const { low, high, estimate } = rate.precision;
    const value = share(rate.precision, rate.decided, min_decided);
    return { name, rate, low, high, value, estimate: rate.decided < min_decided ? null : estimate };
  });
  return {
    id: "precision",
    title: "Precision: detections that are there, with the right label",
    note: noteOf(audit),
    draw: rows.length ? (width) => intervals(width, rows, { ...SHARES, unit: "share of the county's detections" }) : null,
    head: ["Label", "Precision (95 %)", "Correct", "Wrong outline", "Wrong label", "Not there", "Unsure"],
    rows: rows.map(({ name, value, rate }) => [
      name, value, ...[rate.correct, rate.outline, rate.wrong_label, rate.wrong, rate.unsure].map(count),
    ]), // prettier-ignore
    summary: rows.map(({ name, value }) => `${name}: ${value}`).join("; "),
  };
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofAreas({ audit, min_decided }) {
  const rows = ratesOf(audit).map(({ name, rate: { area, decided } }) => {
    if (!area || area.low === null || area.high === null || decided < min_decided)
      return { name, value: decided ? `too few (n = ${decided})` : "no answer yet", estimate: null, low: 0, high: 0 };
    const value = `${signed(area.bias)} (${signed(area.low)} to ${signed(area.high)}), n = ${count(decided)}`;
    return { name, value, estimate: area.bias, low: area.low, high: area.high };
  });
  const widest = Math.max(0, ...rows.flatMap((row) => [Math.abs(row.low), Math.abs(row.high)]));
  const reach = REACHES.find((each) => each >= widest) ?? 1;
  const axis = { from: -reach, to: reach, marks: [-reach, -reach / 2, 0, reach / 2, reach], show: signed, reference: 0 };
  return {
    id: "areas",
    title: "Error of measured areas",
    note: `${noteOf(audit)}${audit ? " Too few: not enough outlines were corrected to know how errors spread." : ""}`,
    draw: rows.length ? (width) => intervals(width, rows, { ...axis, unit: "(measured − true) / true area" }) : null,
    head: ["Label", "Error of the sum (95 %)"],
    rows: rows.map(({ name, value }) => [name, value]),
    summary: rows.map(({ name, value }) => `${name}: ${value}`).join("; "),
  };
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofCalibration({ audit, calibration, min_decided }) {
  const bins = calibration ?? [];
  const known = bins.filter((bin) => bin.decided);
  const range = (/** @type {typeof bins[number]} */ bin) => `${bin.low.toFixed(1)}–${bin.high.toFixed(1)}`;
  const right = (/** @type {typeof bins[number]} */ bin) => share(bin.correct, bin.decided, min_decided);
  return {
    id: "calibration",
    title: "Do scores say how often a detection is right?",
    note: `${noteOf(audit)}${known.length ? ` Hollow: fewer than ${min_decided} answers.` : ""}`,
    draw: known.length ? (width) => reliability(width, bins, min_decided) : null,
    head: ["Score", "Right (95 %)", "Mean score", "Answers"],
    rows: bins.map((bin) => [range(bin), right(bin), bin.mean_score === null ? "" : bin.mean_score.toFixed(2), count(bin.decided)]),
    summary: known.map((bin) => `score ${range(bin)}: ${right(bin)}`).join("; "),
  };
}

/** @param {CountyFigures} figures @returns {FigureSpec} */
export function ofAgreement({ audit, min_decided }) {
  const { pairs = 0, unsure = 0, share: same = { estimate: null, low: 0, high: 1 }, kappa = null } = audit?.agreement ?? {};
  const isKnown = pairs >= min_decided;
  const value = share(same, pairs, min_decided);
  const row = { name: "same verdict", value, estimate: isKnown ? same.estimate : null, low: same.low, high: same.high };
  const shownKappa = isKnown && kappa !== null ? kappa.toFixed(2) : "not known";
  return {
    id: "agreement",
    title: "Agreement of two reviewers",
    note: audit
      ? `Audit items that two people answered, blind to each other: ${count(audit.second_given)} of ${count(audit.second_wanted)} planned. Cohen's kappa (0 is chance, 1 is always): ${shownKappa}.`
      : noteOf(null),
    draw: audit ? (width) => intervals(width, [row], { ...SHARES, unit: "share of pairs" }) : null,
    head: ["", "Agreement (95 %)", "Kappa", "Pairs", "With an unsure answer"],
    rows: [["same verdict", value, shownKappa, count(pairs), count(unsure)]],
    summary: value,
  };
}
