/**
 * Coordinates between degrees (stored) and metres of Web Mercator (drawn).
 *
 * There and back rounds the last digits. So the degrees of every vertex are remembered by its
 * metres: what was not moved gets its own digits back.
 */

import { fromLonLat, toLonLat } from "ol/proj.js";

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {number[]} Position */

export class ExactCoordinates {
  constructor() {
    /** @type {Map<string, Position>} */
    this.degreesOf = new Map();
  }

  /** @param {Geometry} geometry in degrees @returns {Position[][][]} in metres */
  toMetres(geometry) {
    const parts = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    return mapPositions(parts, (position) => {
      const metres = fromLonLat(position);
      this.degreesOf.set(metres.join(), position);
      return metres;
    });
  }

  /** @param {Position[][][]} parts in metres @returns {Geometry} in degrees */
  toDegrees(parts) {
    const coordinates = mapPositions(
      parts,
      (position) => this.degreesOf.get(position.slice(0, 2).join()) ?? toLonLat(position),
    );
    return { type: "MultiPolygon", coordinates };
  }
}

/** @param {Position[][][]} parts @param {(position: Position) => Position} change */
function mapPositions(parts, change) {
  return parts.map((rings) => rings.map((ring) => ring.map(change)));
}
