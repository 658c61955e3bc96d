/** What is said about a property beside the map: facts, objects, areas, the history of an object. */

import { COMMANDS } from "./commands.js";
import { element, make, shownKey } from "./dialogs.js";
import { labelColour } from "./palette.js";
import { area } from "./units.js";

/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Event} Event */

const SOURCES = { lot: "lot", buffer_30m: "30 m circle, no lot is known here" };

/** @param {Property} property */
export function showProperty(property) {
  element("#title").textContent = property.property_id;
  const facts = [
    property.address ?? "",
    property.source ? `boundary: ${SOURCES[property.source]}` : "no boundary",
    property.boundary_area_m2 === null ? "" : area(property.boundary_area_m2),
    property.captured_on ? `imagery of ${property.captured_on}` : "date of the imagery unknown",
    property.gsd_m === null ? "" : `${Math.round(property.gsd_m * 100)} cm a pixel`,
  ];
  element("#facts").textContent = facts.filter(Boolean).join(" · ");
  const rows = Object.entries(property.areas_m2).map(([label, area_m2]) =>
    make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, area(area_m2))),
  );
  element("#areas tbody").replaceChildren(...rows);
}

/** @param {Detection[]} detections @param {number | null} selected @param {(id: number) => void} onPick */
export function showObjects(detections, selected, onPick) {
  const items = detections.map((each) => {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = labelColour(each.label);
    const score = each.segmenter === "person" ? "drawn" : `score ${each.score.toFixed(2)}`;
    const by = each.is_reviewed && each.reviewer ? `by ${each.reviewer}` : "";
    const item = make(
      "li",
      { role: "option", id: `object-${each.id}`, "aria-selected": String(each.id === selected), class: each.state },
      swatch,
      make("b", {}, each.label),
      ` ${[each.state, by].filter(Boolean).join(" ")} · ${area(each.clipped_area_m2)} · ${score}`,
    );
    item.addEventListener("click", () => onPick(each.id));
    return item;
  });
  const list = element("#objects");
  list.replaceChildren(...items);
  if (selected === null) list.removeAttribute("aria-activedescendant");
  else {
    list.setAttribute("aria-activedescendant", `object-${selected}`);
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }
}

/** @param {(name: string) => void} run */
export function makeButtons(run) {
  const buttons = COMMANDS.map((each) => {
    const button = make(
      "button",
      { type: "button", "data-command": each.name, "aria-keyshortcuts": shownKey(each.key) },
      each.title,
      " ",
      make("kbd", {}, shownKey(each.key)),
    );
    button.addEventListener("click", () => run(each.name));
    return button;
  });
  element("#actions").replaceChildren(...buttons);
}

/** @param {(name: string) => boolean} can */
export function enableButtons(can) {
  for (const button of element("#actions").querySelectorAll("button"))
    button.hidden = !can(button.dataset["command"] ?? "");
}

/** @param {Event[]} events */
export function showHistory(events) {
  const items = events.map((each) => {
    const when = new Date(each.created_at).toLocaleString();
    const note = each.note ? `: ${each.note}` : "";
    return make("li", {}, `${when}: ${each.action} by ${each.reviewer}${note}`);
  });
  element("#history").replaceChildren(
    ...(items.length ? [make("h3", {}, "History"), make("ol", {}, ...items)] : []),
  );
}
