/** Where the crosshair can go in one step: vertices, holes, other objects. */

import MultiPolygon from "ol/geom/MultiPolygon.js";
import { fromLonLat } from "ol/proj.js";

import { holesOf, nearestEdge } from "./outline_vertices.js";

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./outline_vertices.js").Parts} Parts */
/** @typedef {import("./shape_input.js").Stop} Stop */

/** The vertices of an outline. @param {Parts} outline @returns {Stop[]} */
export function vertexStops(outline) {
  const vertices = outline.flatMap((rings) => rings.flatMap((ring) => ring.slice(1)));
  return vertices.map((at, number) => ({ at, name: `vertex ${number + 1} of ${vertices.length}` }));
}

/** A point in each hole of an outline. @param {Parts} outline @returns {Stop[]} */
export function holeStops(outline) {
  const holes = holesOf(outline);
  return holes.map((ring, number) => ({ at: inside([[ring]]), name: `hole ${number + 1} of ${holes.length}` }));
}

/** A point in each part of an outline. @param {Parts} outline @returns {Stop[]} */
export function partStops(outline) {
  return outline.map((rings, number) => ({ at: inside([rings]), name: `part ${number + 1} of ${outline.length}` }));
}

/**
 * The part at a place, or the one whose edge is within reach: what a cut leaves is often thin.
 *
 * @param {Parts} outline @param {Geometry} point in degrees @param {number} reach in metres @returns {number | null}
 */
export function partAt(outline, point, reach) {
  const at = fromLonLat(point.coordinates);
  const found = outline.findIndex((rings) => new MultiPolygon([rings]).intersectsCoordinate(at));
  return found >= 0 ? found : (nearestEdge(outline, at, reach)?.place.part ?? null);
}

/** A point in each object. @param {Map<number, Parts>} objects @param {Map<number, string>} labels @returns {Stop[]} */
export function objectStops(objects, labels) {
  return [...objects].map(([id, outline], number) => ({
    at: inside(outline),
    name: `${labels.get(id) ?? "object"} ${number + 1} of ${objects.size}`,
  }));
}

/** The smallest object at a place. @param {Map<number, Parts>} objects @param {Geometry} point in degrees @returns {number | null} */
export function objectAt(objects, point) {
  const at = fromLonLat(point.coordinates);
  const found = [...objects]
    .map(([id, outline]) => ({ id, shape: new MultiPolygon(outline) }))
    .filter(({ shape }) => shape.intersectsCoordinate(at))
    .sort((a, b) => a.shape.getArea() - b.shape.getArea());
  return found[0]?.id ?? null;
}

/** A point inside an outline. @param {Parts} parts */
function inside(parts) {
  const [point = []] = new MultiPolygon(parts).getInteriorPoints().getCoordinates();
  return point.slice(0, 2);
}
