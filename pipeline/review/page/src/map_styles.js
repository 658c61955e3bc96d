/** How the map draws boundaries, detections, the overview of a county, and a draft. */

import { Circle, Fill, RegularShape, Stroke, Style, Text } from "ol/style.js";

import { BOUNDARY, labelColour } from "./palette.js";

/** A lot, or a circle that says that it is none. @param {import("ol/Feature.js").FeatureLike} feature */
export function boundaryStyle(feature) {
  const isLot = feature.get("source") === "lot";
  const color = isLot ? BOUNDARY.lot : BOUNDARY.buffer_30m;
  const lineDash = isLot ? undefined : [8, 8];
  const styles = [
    new Style({ stroke: new Stroke({ color: "#000000", width: 5 }) }),
    new Style({ stroke: new Stroke({ color, width: 2.5, lineDash }) }),
  ];
  return isLot ? styles : [...styles, CIRCLE_TEXT];
}

const CIRCLE_TEXT = new Style({
  text: new Text({
    text: "30 m circle, not a lot",
    placement: "line",
    repeat: 450,
    overflow: true,
    textBaseline: "bottom",
    offsetY: -6,
    font: "600 14px system-ui, sans-serif",
    fill: new Fill({ color: BOUNDARY.buffer_30m }),
    stroke: new Stroke({ color: "#000000", width: 4 }),
  }),
});

/**
 * Proposed ones dashed; accepted ones solid on white, with a check mark where it fits; rejected ones dotted grey.
 *
 * @param {import("ol/Feature.js").FeatureLike} feature @param {boolean} isSelected
 */
export function detectionStyle(feature, isSelected) {
  const colour = labelColour(String(feature.get("label")));
  const isRejected = feature.get("state") === "rejected";
  const isAccepted = feature.get("state") === "accepted";
  const width = isSelected ? 4 : isAccepted ? 3 : 2;
  const zIndex = isSelected ? 1 : 0;
  const outline = new Style({
    fill: new Fill({ color: `${colour}${isRejected ? "00" : isSelected ? "66" : "33"}` }),
    stroke: new Stroke({
      color: isRejected ? "#9aa2ad" : colour,
      width,
      lineDash: isAccepted ? undefined : isRejected ? [2, 6] : [10, 5],
    }),
    ...(isAccepted ? { text: CHECK_MARK } : {}),
    zIndex,
  });
  return isAccepted ? [new Style({ stroke: new Stroke({ color: "#ffffff", width: width + 4 }), zIndex }), outline] : outline;
}

const CHECK_MARK = new Text({
  text: "✓",
  font: "700 20px system-ui, sans-serif",
  fill: new Fill({ color: "#ffffff" }),
  stroke: new Stroke({ color: "#000000", width: 4 }),
});

/** Neighbours are thin; a circle is dashed here too, so that it is not taken for a lot. @param {import("ol/Feature.js").FeatureLike} feature */
export function overviewStyle(feature) {
  if (feature.get("layer") !== "boundaries") {
    return new Style({ stroke: new Stroke({ color: labelColour(String(feature.get("label"))), width: 1 }) });
  }
  const isLot = feature.get("source") === "lot";
  const color = isLot ? BOUNDARY.lot : BOUNDARY.buffer_30m;
  return new Style({ stroke: new Stroke({ color, width: isLot ? 1 : 1.5, lineDash: isLot ? undefined : [5, 5] }) });
}

/** @param {number} radius @param {string} fill @param {string} line @param {number} width @param {number} zIndex */
function dot(radius, fill, line, width, zIndex) {
  const image = new Circle({
    radius,
    fill: new Fill({ color: fill }),
    stroke: new Stroke({ color: line, width }),
  });
  return new Style({ image, zIndex });
}

const DRAFT = "#0057ff";
export const handleStyle = dot(4, "#ffffff", DRAFT, 1.5, 1);
export const grabStyle = dot(7, "#ffffffcc", DRAFT, 2, 2);
export const cursorStyle = dot(9, DRAFT, "#ffffff", 3, 3);

export const draftStyle = [
  new Style({ fill: new Fill({ color: "#ffffff33" }), stroke: new Stroke({ color: "#ffffff", width: 3 }) }),
  new Style({ stroke: new Stroke({ color: DRAFT, width: 1.5 }) }),
];

// What a split has cut off: an object of its own.
export const cutOffStyle = [
  new Style({ fill: new Fill({ color: "#ffffff22" }), stroke: new Stroke({ color: "#ffffff", width: 3 }) }),
  new Style({ stroke: new Stroke({ color: DRAFT, width: 1.5, lineDash: [6, 4] }) }),
];

// An object whose shared edge moves with the draft.
export const neighbourStyle = [
  new Style({ stroke: new Stroke({ color: "#ffffff", width: 3 }) }),
  new Style({ stroke: new Stroke({ color: "#b3009e", width: 1.5, lineDash: [6, 4] }) }),
];

/** @param {string} color @param {number} width */
function cross(color, width) {
  const image = new RegularShape({ points: 4, radius: 16, radius2: 0, angle: 0, stroke: new Stroke({ color, width }) });
  return new Style({ image, zIndex: 4 });
}

const CROSSHAIR = [cross("#ffffff", 5), cross("#b3009e", 2)];
const SKETCH = [
  new Style({ fill: new Fill({ color: "#ffffff33" }), stroke: new Stroke({ color: "#ffffff", width: 4 }) }),
  new Style({ stroke: new Stroke({ color: "#b3009e", width: 2, lineDash: [8, 5] }) }),
  dot(4, "#ffffff", "#b3009e", 2, 2),
];

/** @param {import("ol/Feature.js").FeatureLike} feature */
export function sketchStyle(feature) {
  return feature.get("kind") === "crosshair" ? CROSSHAIR : SKETCH;
}
