/**
 * Degrees of an outline that is shown in metres: what was not moved gets its own digits back.
 *
 * Positions are never changed in place, so each remembers the degrees that it was made from.
 */

import { fromLonLat, toLonLat } from "ol/proj.js";

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {import("./outline_vertices.js").Parts} Parts */

/** @type {WeakMap<Position, Position>} */
const degreesOf = new WeakMap();

/** @param {Geometry} geometry in degrees @returns {Parts} in metres */
export function toMetres(geometry) {
  const parts = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  return mapPositions(parts, (position) => {
    const metres = fromLonLat(position);
    degreesOf.set(metres, position);
    return metres;
  });
}

/** @param {Position} position in metres, a vertex of an outline or any other @returns {Position} in degrees */
export function degreesAt(position) {
  return degreesOf.get(position) ?? toLonLat(position);
}

/** @param {Parts} parts in metres @returns {Geometry} in degrees */
export function toDegrees(parts) {
  const coordinates = mapPositions(parts, degreesAt);
  return { type: "MultiPolygon", coordinates };
}

/** @param {Parts} parts @param {(position: Position) => Position} change */
function mapPositions(parts, change) {
  return parts.map((rings) => rings.map((ring) => ring.map(change)));
}
