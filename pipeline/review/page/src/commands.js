/** What can be done, each with one key for the left hand; the buttons and `?` are made from it. */

/**
 * @typedef {object} Command
 * @property {string} name
 * @property {string} key As in `KeyboardEvent.key`, lower case.
 * @property {string} title For people.
 * @property {"property" | "object" | "draft" | "vertex" | "drawing"} when What must be there: a
 *   property, a selected object, an outline that is edited, a vertex under the cursor, or an outline
 *   of which nothing is drawn yet.
 */

/** @type {Command[]} */
export const COMMANDS = [
  { name: "accept", key: "a", title: "Accept", when: "object" },
  { name: "reject", key: "r", title: "Reject", when: "object" },
  { name: "relabel", key: "f", title: "Change label", when: "object" },
  { name: "restore", key: "t", title: "Restore", when: "object" },
  { name: "edit", key: "e", title: "Edit outline", when: "object" },
  { name: "draw", key: "d", title: "Draw a missed object", when: "property" },
  { name: "save", key: "s", title: "Save outline", when: "draft" },
  { name: "cut", key: "1", title: "Cut a piece out", when: "draft" },
  { name: "join", key: "2", title: "Join a piece", when: "draft" },
  { name: "split", key: "3", title: "Split by a line", when: "draft" },
  { name: "reshape", key: "4", title: "Reshape by a stroke", when: "draft" },
  { name: "drop_hole", key: "5", title: "Fill a hole", when: "draft" },
  { name: "clip", key: "g", title: "Clip to the boundary", when: "draft" },
  { name: "nextVertex", key: "v", title: "Next vertex", when: "draft" },
  { name: "previousVertex", key: "b", title: "Previous vertex", when: "draft" },
  { name: "vertexLeft", key: "arrowleft", title: "Move the vertex left (Shift: far)", when: "vertex" },
  { name: "vertexRight", key: "arrowright", title: "Move the vertex right", when: "vertex" },
  { name: "vertexUp", key: "arrowup", title: "Move the vertex up", when: "vertex" },
  { name: "vertexDown", key: "arrowdown", title: "Move the vertex down", when: "vertex" },
  { name: "addVertex", key: "enter", title: "Add a vertex after this one", when: "vertex" },
  { name: "removeVertex", key: "delete", title: "Remove the vertex", when: "vertex" },
  { name: "drawSquare", key: "enter", title: "Begin with a square in the middle", when: "drawing" },
  { name: "undo", key: "z", title: "Undo", when: "draft" },
  { name: "redo", key: "y", title: "Redo", when: "draft" },
  { name: "cancel", key: "escape", title: "Cancel", when: "draft" },
  { name: "nextObject", key: "c", title: "Next object", when: "property" },
  { name: "previousObject", key: "x", title: "Previous object", when: "property" },
  { name: "nextProperty", key: "w", title: "Next property", when: "property" },
  { name: "previousProperty", key: "q", title: "Back to the last property", when: "property" },
];

/** Whether a key press is text for a field. @param {KeyboardEvent} event */
export function isTyping(event) {
  const target = event.target;
  return (
    event.ctrlKey || event.metaKey || event.altKey ||
    (target instanceof HTMLElement && target.matches("input, select, textarea, dialog *"))
  );
}
