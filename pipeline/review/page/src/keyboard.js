/** Keys of the page: each runs the command that it has where the reviewer is. */

import { COMMANDS, DRAFTING, focusOf, isTyping } from "./commands.js";
import { showHelp } from "./dialogs.js";

const NEAR_PX = 1;
const FAR_PX = 10;
// "+" has Shift on many keyboards.
/** @type {Record<string, string>} */
const SAME_KEY = { "=": "+", _: "-" };

/**
 * @param {(name: string) => boolean} can @param {(name: string, px: number) => void} run `px`: how
 *   far a vertex is moved
 * @param {(command: import("./commands.js").Command) => void} refused called with the command of a key that cannot be done now
 */
export function listenToKeys(can, run, refused) {
  addEventListener("keydown", (event) => {
    if (isTyping(event)) return;
    if (event.key === "?") return showHelp();
    const letter = event.key.toLowerCase();
    const named = SAME_KEY[letter] ?? letter;
    const key = event.shiftKey && /^[a-z]$/.test(letter) ? `shift+${letter}` : named;
    const command = COMMANDS.find((each) => each.key === key && can(each.name));
    if (!command) {
      const known = COMMANDS.find((each) => each.key === key);
      return known && !belongsToFocus(event, false) ? refused(known) : undefined;
    }
    if (belongsToFocus(event, DRAFTING.has(command.when))) return;
    if (event.repeat && command.isToggle) return;
    event.preventDefault();
    run(command.name, event.shiftKey ? FAR_PX : NEAR_PX);
  });
}

/**
 * Whether a key belongs to what has the focus: Enter to a button or a link, Enter and the arrows to the list of objects,
 * unless something is drawn, which takes the arrows.
 *
 * @param {KeyboardEvent} event @param {boolean} isDrafting
 */
function belongsToFocus(event, isDrafting) {
  if (event.key.length === 1 || event.key === "Escape") return false;
  const focus = focusOf(event);
  const isButton = focus.matches("button, summary, a");
  if (isDrafting) return isButton && event.key === "Enter";
  return isButton || focus.matches("[role=listbox]");
}
