/** The line under the map, which screen readers read out when it changes. */

import { element } from "./dialogs.js";

/** @param {string} text */
export function say(text) {
  element("#status").textContent = text;
}

/** @param {unknown} error @returns {string} */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
