/** What is said about a property beside the map: facts, areas, and the buttons for it. */

import { COMMANDS, titleOf } from "./commands.js";
import { ariaKey, element, make, shownKey } from "./dialogs.js";
import { area } from "./units.js";

/** @typedef {import("./types.js").Property} Property */

const SOURCES = { lot: "lot", buffer_30m: "30 m circle, no lot is known here" };

/** @param {Property} property @param {boolean | null} isSynthetic whether its county is generated; null if that is not known */
export function showProperty(property, isSynthetic) {
  element("#title").textContent = property.property_id;
  const facts = [
    property.address ?? "",
    property.source ? `boundary: ${SOURCES[property.source]}` : "no boundary",
    property.boundary_area_m2 === null ? "" : area(property.boundary_area_m2),
    property.captured_on ? `imagery of ${property.captured_on}` : "date of the imagery unknown",
    property.gsd_m === null ? "" : `${Math.round(property.gsd_m * 100)} cm a pixel`,
  ];
  const warnings = [imagedPart(property), isSynthetic ? "synthetic, not a real place" : ""].filter(Boolean);
  element("#facts").replaceChildren(
    facts.filter(Boolean).join(" · "),
    ...warnings.flatMap((each) => [" · ", make("span", { class: "warning" }, each)]),
  );
  const flag = property.fully_reviewed;
  element("#fully-reviewed").textContent = flag
    ? `✓ fully reviewed by ${flag.reviewer}, ${new Date(flag.created_at).toLocaleDateString()}`
    : "";
  const rows = Object.entries(property.areas_m2).map(([label, area_m2]) =>
    make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, area(area_m2))),
  );
  element("#areas tbody").replaceChildren(...rows);
  element("#areas caption").textContent = property.is_partly_imaged ? "Measured areas of the imaged part only" : "Measured areas";
  const notes = rows.length ? [...(property.measured_by ?? []).map(measuredBy), ...(property.area_notes ?? [])] : [];
  element("#areas-notes").replaceChildren(...notes.map((each) => make("p", {}, each)));
}

/** How much of the boundary has imagery, unless all of it has. @param {Property} property */
function imagedPart({ source, coverage_fraction: fraction, is_partly_imaged: isPartly }) {
  if (!source) return "";
  const ground = source === "lot" ? "lot" : "circle";
  if (fraction === null || isPartly === null) return `how much of the ${ground} has imagery is not known`;
  if (!isPartly) return "";
  const percent = Math.floor(100 * fraction);
  return `${percent < 1 && fraction > 0 ? "less than 1" : percent} % of the ${ground} has imagery`;
}

/** @param {{segmenter: string, caveats: string[]}} by */
function measuredBy({ segmenter, caveats }) {
  if (segmenter === "person") return "Measured from outlines that people drew.";
  return `Measured by ${[segmenter, ...caveats].join(", ")}.`;
}

// What ends or takes back a step stands with what leads to the next one, below what is done to an object.
const KEEPING = new Set(["save", "finishShape", "undo", "redo", "cancel", "fullyReviewed"]);

/** @param {(name: string) => void} run */
export function makeButtons(run) {
  const [deciding, moving] = [make("div", { class: "group" }), make("div", { class: "group" })];
  for (const each of COMMANDS.filter((command) => !command.isOnMap && !command.isKeyOnly)) {
    const button = make(
      "button",
      { type: "button", "data-command": each.name, "aria-keyshortcuts": ariaKey(each.key) },
      make("span", {}, each.title),
      " ",
      make("kbd", {}, shownKey(each.key)),
    );
    button.addEventListener("click", () => run(each.name));
    (each.isMoving || KEEPING.has(each.name) ? moving : deciding).append(button);
  }
  element("#actions").replaceChildren(deciding, moving);
}

/** @param {(name: string) => boolean} can @param {boolean} isAudit whether an item of the audit is asked about */
export function enableButtons(can, isAudit) {
  const titles = new Map(COMMANDS.map((each) => [each.name, titleOf(each, isAudit)]));
  for (const button of element("#actions").querySelectorAll("button")) {
    const name = button.dataset["command"] ?? "";
    const shown = button.querySelector("span");
    if (shown) shown.textContent = titles.get(name) ?? "";
    button.hidden = !can(name);
  }
}
