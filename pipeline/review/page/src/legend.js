/** What the lines on the map mean, and when its imagery was taken: in a corner of the map. */

import { make } from "./dialogs.js";
import { labelColour } from "./palette.js";

/** @typedef {import("./types.js").Property} Property */

/** @type {[name: string, title: string][]} */
const STATES = [
  ["proposed", "proposed"],
  ["accepted", "accepted ✓"],
  ["rejected", "rejected"],
];
/** @type {[name: string, title: string][]} */
const NEIGHBOURS = [
  ["neighbour-lot", "neighbour's lot"],
  ["neighbour-buffer_30m", "neighbour's circle"],
];
const STORE = "lotline-legend";
const BOUNDARIES = { lot: "lot", buffer_30m: "30 m circle, not a lot" };

export class Legend {
  /** @param {HTMLElement} map */
  constructor(map) {
    this.date = make("p", { class: "imagery-date" });
    this.lines = make("ul");
    const box = make("details", { class: "legend ol-control" }, make("summary", {}, "Legend"), this.lines);
    if (innerWidth > 760 && !isClosed()) box.setAttribute("open", "");
    box.addEventListener("toggle", () => keepClosed(!box.hasAttribute("open")));
    map.append(make("div", { class: "map-notes" }, this.date, box));
  }

  /** @param {Property} property */
  show(property) {
    this.date.textContent = property.captured_on ? `imagery of ${property.captured_on}` : "imagery, date unknown";
    const source = property.source;
    const boundary = source ? [line(`boundary-${source}`, BOUNDARIES[source])] : [];
    const labels = [...new Set(property.detections.map((each) => each.label))].sort();
    this.lines.replaceChildren(
      ...boundary,
      ...labels.map(labelEntry),
      ...STATES.map(([name, title]) => line(`object-${name}`, title)),
      ...NEIGHBOURS.map(([name, title]) => line(`neighbour ${name}`, title)),
    );
  }
}

/** Whether the reviewer has closed the legend: it covers a corner of the map. */
function isClosed() {
  try {
    return localStorage.getItem(STORE) === "closed";
  } catch {
    return false; // blocked
  }
}

/** @param {boolean} isIt */
function keepClosed(isIt) {
  if (innerWidth <= 760) return; // there it is closed at first
  try {
    localStorage.setItem(STORE, isIt ? "closed" : "open");
  } catch {
    // as above
  }
}

/** @param {string} name */
function labelEntry(name) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.backgroundColor = labelColour(name);
  return make("li", { class: "label" }, swatch, name);
}

/** @param {string} kind @param {string} title */
function line(kind, title) {
  return make("li", {}, make("span", { class: `line ${kind}`, "aria-hidden": "true" }), title);
}
