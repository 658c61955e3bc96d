/** The list of objects: what screen readers and the keyboard have instead of the map. */

import { element, make } from "./dialogs.js";
import { labelColour } from "./palette.js";
import { area } from "./units.js";

/** @typedef {import("./types.js").Detection} Detection */

/** In the order of the list: by label, the largest first; what is rejected last. @param {Detection[]} detections */
export function inOrder(detections) {
  return [...detections].sort(
    (a, b) =>
      Number(a.state === "rejected") - Number(b.state === "rejected") ||
      a.label.localeCompare(b.label) ||
      b.clipped_area_m2 - a.clipped_area_m2 ||
      a.id - b.id,
  );
}

/**
 * @param {Detection[]} detections @param {number | null} selected
 * @param {(object: Detection) => string} waiting what is on its way about an object; empty for nothing
 * @param {(id: number) => void} onPick
 */
export function showObjects(detections, selected, waiting, onPick) {
  const list = element("#objects");
  list.replaceChildren(
    ...detections.map((each) => {
      const item = row(each, waiting(each));
      item.setAttribute("aria-selected", String(each.id === selected));
      item.addEventListener("click", () => onPick(each.id));
      return item;
    }),
  );
  const chosen = list.querySelector("[aria-selected=true]");
  if (!chosen) return list.removeAttribute("aria-activedescendant");
  list.setAttribute("aria-activedescendant", chosen.id);
  chosen.scrollIntoView({ block: "nearest" });
}

/** @param {Detection} object @param {string} waiting */
function row(object, waiting) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.backgroundColor = labelColour(object.label);
  const score = object.segmenter === "person" ? "drawn" : `score ${object.score.toFixed(2)}`;
  const state = object.state === "rejected" && object.action === "delete" ? "deleted" : object.state;
  const by = object.is_reviewed && object.reviewer ? ` by ${object.reviewer}` : "";
  return make(
    "li",
    { role: "option", id: `object-${object.id}`, class: object.state },
    swatch,
    make("b", {}, object.label),
    make("span", { class: "state" }, ` ${state}${by}`),
    make("span", { class: "size" }, ` ${area(object.clipped_area_m2)}`),
    make("span", { class: "score" }, ` ${score}`),
    ...(waiting ? [make("span", { class: "on-its-way" }, ` ${waiting}: waits`)] : []),
  );
}
