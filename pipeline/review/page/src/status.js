/** The line under the map, which screen readers read out when it changes. */

import { element } from "./dialogs.js";

let sayings = 0;

/** Tell the reviewer something, which no answer to anything asked before replaces; an empty text tells nothing. @param {string} text */
export function say(text) {
  if (text) sayings += 1;
  hint(text);
}

/** Show what the answer to anything asked before may replace, such as how to go on. @param {string} text */
export function hint(text) {
  element("#status").textContent = text;
}

/**
 * Remember this moment: the function that is returned says whether nothing was said since.
 *
 * A late answer about what is shown is worth less than what the reviewer has caused meanwhile.
 *
 * @returns {() => boolean}
 */
export function sinceNow() {
  const at = sayings;
  return () => sayings === at;
}

/** @param {unknown} error @returns {string} */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
