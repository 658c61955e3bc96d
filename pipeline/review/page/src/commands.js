/** What can be done, each with one key for the left hand; the buttons and `?` are made from it. */

/**
 * @typedef {"draft" | "vertex" | "shape" | "empty" | "arrows" | "drafting"} DraftingState An outline that
 *   is edited; a vertex of it under the cursor; a shape that is drawn, for a tool or as a new outline; a
 *   new outline without a point; something that the arrow keys move; an outline or a shape.
 *
 * @typedef {object} Command
 * @property {string} name
 * @property {string} key As in `KeyboardEvent.key`, lower case; "shift+" before a letter.
 * @property {string} title For people.
 * @property {string} [auditTitle] What it means in the audit, where that is something else.
 * @property {"property" | "object" | "history" | "mask" | "map" | DraftingState} when What must be there:
 *   a property, a selected object, something that was done, a segmenter that can be asked about a click, or
 *   something that is drawn.
 * @property {boolean} [isMoving] Whether viewers may do it too.
 * @property {boolean} [isKeyOnly] Whether it has no button: a mouse and a finger do it otherwise.
 * @property {boolean} [isToggle] Whether a key that is held does it once.
 * @property {boolean} [isOnMap] Whether its button is on the map.
 */

/** @type {Command[]} */
export const COMMANDS = [
  { name: "accept", key: "a", title: "Accept", auditTitle: "Correct", when: "object" },
  { name: "reject", key: "r", title: "Reject", auditTitle: "Wrong", when: "object" },
  { name: "relabel", key: "f", title: "Change label", auditTitle: "Another label", when: "object" },
  { name: "unsure", key: "shift+a", title: "Unsure", when: "object" },
  { name: "delete", key: "shift+r", title: "Delete", when: "object" },
  { name: "restore", key: "t", title: "Restore", when: "object" },
  { name: "edit", key: "e", title: "Edit outline", auditTitle: "Another outline", when: "object" },
  { name: "draw", key: "d", title: "Draw missed object", when: "property" },
  { name: "save", key: "s", title: "Save outline", when: "draft" },
  { name: "drawSquare", key: "enter", title: "Begin with a square in the middle", when: "empty" },
  { name: "finishShape", key: "s", title: "Finish the shape", when: "shape" },
  { name: "removePoint", key: "backspace", title: "Remove the last point", when: "shape" },
  { name: "setPoint", key: "enter", title: "Set a point at the crosshair", when: "shape" },
  { name: "removeVertex", key: "delete", title: "Remove the vertex", when: "vertex" },
  { name: "addVertex", key: "enter", title: "Add a vertex after this one", when: "vertex" },
  { name: "cancel", key: "escape", title: "Cancel", when: "drafting" },
  { name: "undo", key: "z", title: "Undo", when: "history" },
  { name: "redo", key: "y", title: "Redo", when: "history" },
  { name: "cut", key: "1", title: "Cut a piece out", when: "draft" },
  { name: "join", key: "2", title: "Join a piece", when: "draft" },
  { name: "split", key: "3", title: "Split by a line", when: "draft" },
  { name: "reshape", key: "4", title: "Reshape by a stroke", when: "draft" },
  { name: "drop_hole", key: "5", title: "Fill a hole", when: "draft" },
  { name: "mask", key: "6", title: "Click to mask", when: "mask" },
  { name: "unite", key: "7", title: "Unite with another object", when: "draft" },
  { name: "removePart", key: "8", title: "Remove a part", when: "draft" },
  { name: "redraw", key: "9", title: "Draw it anew", when: "draft" },
  { name: "cutObject", key: "k", title: "Cut another object out", when: "draft" },
  { name: "shareEdges", key: "h", title: "Move shared edges", when: "draft" },
  { name: "clip", key: "g", title: "Clip to the boundary", when: "draft" },
  { name: "nextVertex", key: "v", title: "Next vertex, or hole", when: "drafting" },
  { name: "previousVertex", key: "b", title: "Previous vertex, or hole", when: "drafting" },
  { name: "farVertex", isKeyOnly: true, key: "shift+v", title: "Far along the vertices", when: "draft" },
  { name: "farVertexBack", isKeyOnly: true, key: "shift+b", title: "Far back along the vertices", when: "draft" },
  { name: "moveLeft", key: "arrowleft", title: "Move left (Shift: far)", when: "arrows" },
  { name: "moveRight", key: "arrowright", title: "Move right", when: "arrows" },
  { name: "moveUp", key: "arrowup", title: "Move up", when: "arrows" },
  { name: "moveDown", key: "arrowdown", title: "Move down", when: "arrows" },
  { name: "imageryAlone", key: "i", title: "Show the imagery alone, or the outlines again", when: "map", isOnMap: true, isToggle: true },
  { name: "zoomIn", key: "+", title: "Zoom in", when: "map", isOnMap: true },
  { name: "zoomOut", key: "-", title: "Zoom out", when: "map", isOnMap: true },
  { name: "fit", key: "0", title: "Show the whole property", when: "map", isOnMap: true },
  { name: "fullyReviewed", key: "shift+w", title: "Fully reviewed", when: "property" },
  { name: "nextObject", key: "c", title: "Next object", when: "property", isMoving: true },
  { name: "previousObject", key: "x", title: "Previous object", when: "property", isMoving: true },
  { name: "nextProperty", key: "w", title: "Next property", auditTitle: "Next item", when: "property", isMoving: true },
  { name: "previousProperty", key: "q", title: "Previous property", auditTitle: "Previous item", when: "property", isMoving: true },
];

/** @type {[title: string, states: string[]][]} the groups of the list of keys, by what must be there */
export const COMMAND_GROUPS = [
  ["Properties and objects", ["property", "history"]],
  ["The selected object", ["object"]],
  ["A new outline or a shape", ["mask", "empty", "shape", "drafting"]],
  ["The outline that is edited", ["draft", "vertex", "arrows"]],
  ["The map", ["map"]],
];

/** What a command is called. @param {Command} command @param {boolean} isAudit */
export function titleOf(command, isAudit) {
  return (isAudit && command.auditTitle) || command.title;
}

/** @type {Set<string>} */
export const DRAFTING = new Set(["draft", "vertex", "shape", "empty", "arrows", "drafting"]);

/** Whether something that is drawn is in a state. @param {import("./map.js").PropertyMap} map @param {string} state */
export function canDraft(map, state) {
  const mode = map.mode();
  if (state === "vertex") return mode === "draft" && map.hasCursor();
  if (state === "empty") return map.isDrawing();
  if (state === "arrows") return mode === "shape" || (mode === "draft" && map.hasCursor());
  if (state === "drafting") return mode !== "none";
  return mode === state;
}

/**
 * The element that a key press is for; the page after a dialog was closed, though until the next frame
 * the browser leaves the focus in the dialog.
 *
 * @param {KeyboardEvent} event
 */
export function focusOf({ target }) {
  const element = target instanceof HTMLElement ? target : document.body;
  return element.closest("dialog:not([open])") ? document.body : element;
}

/** Whether a key press is text for a field. @param {KeyboardEvent} event */
export function isTyping(event) {
  return (
    event.ctrlKey || event.metaKey || event.altKey ||
    focusOf(event).matches("input:not([type=checkbox]), select, textarea, dialog *")
  );
}
