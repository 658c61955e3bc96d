/** The history of an object: who decided what and when, with the change that it made. */

import { element, make } from "./dialogs.js";
import { area, shownTime } from "./units.js";

/** @typedef {import("./types.js").Event} Event */

/** @type {Record<string, string>} */
const DONE = {
  accept: "accepted", reject: "rejected", restore: "restored", relabel: "changed the label",
  edit: "edited the outline", add: "drew it", delete: "deleted", undo: "undid", carry: "carried over",
};

/** @param {Event[]} events oldest first */
export function showHistory(events) {
  const undone = new Set(events.map((each) => each.undoes).filter((each) => each != null));
  const items = events.map((each) => {
    const content = [...sentence(each, events)];
    const item = make("li", {}, ...(undone.has(each.id) ? [make("del", {}, ...content), " (undone)"] : content));
    if (each.note) item.append(make("q", {}, each.note));
    return item;
  });
  element("#history").replaceChildren(
    ...(items.length ? [make("h3", {}, "History"), make("ol", {}, ...items.reverse())] : []),
  );
}

/** @param {Event} event @param {Event[]} events @returns {(Node | string)[]} */
function sentence(event, events) {
  const when = make("time", { datetime: event.created_at }, shownTime(event.created_at));
  const taken = events.find((each) => each.id === event.undoes);
  const what = event.action === "undo" && taken ? `undid: ${DONE[taken.action] ?? taken.action}` : (DONE[event.action] ?? event.action);
  return [when, " ", make("b", {}, event.reviewer), ` ${what}${changes(event)}`];
}

/** State, label and area before and after. @param {Event} event */
function changes({ before, after, outline }) {
  const parts = [];
  if (before.state !== after.state) parts.push(`${before.state} → ${after.state}`);
  if (before.label !== after.label) parts.push(`${before.label} → ${after.label}`);
  if (outline) {
    parts.push(`${area(outline.before_m2)} → ${area(outline.after_m2)}`);
    parts.push(`${area(outline.changed_m2)} changed`);
  }
  return parts.length ? `: ${parts.join("; ")}` : "";
}
