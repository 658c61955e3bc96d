/**
 * Asks for a label. A known label in another spelling is that label; what can be no label is refused in
 * the dialog; one that the county does not have is asked about, since a typo would become a label.
 */

import { ask, choose } from "./dialogs.js";

/** @typedef {import("./known_labels.js").KnownLabels} KnownLabels */
/** @typedef {import("./types.js").Property} Property */

const NAME = /^[a-z][a-z0-9_]{0,39}$/;
const MOST_EDITS = 3;

/**
 * A label that may be saved; null if the reviewer has cancelled.
 *
 * @param {KnownLabels} labels @param {Property | null} property @param {string} question @param {string} value suggested
 * @returns {Promise<string | null>}
 */
export async function askForLabel(labels, property, question, value) {
  const choices = property ? labels.of(property) : Promise.resolve([]);
  let suggested = value;
  for (;;) {
    const check = async (/** @type {string} */ text) => faultOf(text, await choices);
    const typed = await ask(question, { value: suggested, choices, check });
    if (!typed) return null;
    const known = await choices;
    const label = spelling(typed, known) ?? typed;
    if (known.includes(label) || labels.isNew(label)) return label;
    const chosen = await askAboutNew(label, known, property !== null && labels.hasAll(property.county));
    if (chosen) {
      if (chosen === label) labels.allowNew(label);
      return chosen;
    }
    suggested = label;
  }
}

/**
 * Whether a label that is not known is meant; the label that is, null if neither.
 *
 * @param {string} label @param {string[]} known @param {boolean} hasAll whether the labels of the county could be read
 */
async function askAboutNew(label, known, hasAll) {
  const near = nearest(label, known);
  const what = hasAll
    ? `There is no label ${label} in this county${near ? `; nearest: ${near}` : ""}. Make a new label?`
    : `The labels of this county cannot be read now, so nothing tells whether ${label} is one of them. Use it?`;
  return choose(what, [
    ...(near ? [{ title: `Use ${near}`, value: near }] : []),
    { title: hasAll ? `Make a new label: ${label}` : `Use ${label}`, value: label },
  ]);
}

/** What is wrong with a text as a label; empty if nothing is. @param {string} text @param {string[]} known */
function faultOf(text, known) {
  if (!text) return "type a label, or cancel";
  if (spelling(text, known) || NAME.test(text)) return "";
  const like = normal(text).replace(/[^a-z0-9_]/g, "").replace(/^[^a-z]+/, "").slice(0, 40);
  return `“${text.slice(0, 60)}” is not a label name: write a-z, digits and _, a letter first, at most 40${like ? `, such as ${like}` : ""}`;
}

/** The known label that a text means; undefined if there is none. @param {string} text @param {string[]} known */
function spelling(text, known) {
  return known.includes(text) ? text : known.find((each) => normal(each) === normal(text));
}

/** @param {string} text */
function normal(text) {
  return text.trim().toLowerCase().replace(/[\s-]+/g, "_");
}

/** The label with the fewest edits to another one; undefined if none is like it. @param {string} label @param {string[]} known */
export function nearest(label, known) {
  const [best] = known
    .map((each) => ({ each, edits: editsBetween(label, each) }))
    .filter(({ each, edits }) => edits <= MOST_EDITS && 2 * edits <= Math.max(each.length, label.length))
    .sort((a, b) => a.edits - b.edits);
  return best?.each;
}

/** The Levenshtein distance. @param {string} a @param {string} b @returns {number} */
function editsBetween(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const [left = 0, above = 0, before = 0] = [next[j - 1], row[j], row[j - 1]];
      next.push(Math.min(left + 1, above + 1, before + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
