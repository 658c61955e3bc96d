/** A shape while it is drawn, point by point: what a click or Enter does to it, and when it is complete. */

import { squaredDistance } from "./outline_vertices.js";

/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {"Polygon" | "LineString" | "Point" | "PointOrBox"} ShapeType */
/** @typedef {{type: "Polygon" | "LineString" | "Point" | "Box", coordinates: any}} DrawnShape in metres; a box as two corners */

const LEAST_POINTS = { Polygon: 3, LineString: 2, Point: 1, PointOrBox: 1 };

export class Sketch {
  /** @param {ShapeType} type */
  constructor(type) {
    this.type = type;
    /** @type {Position[]} */
    this.points = [];
    this.isBox = false;
  }

  isPoint() {
    return this.type === "Point" || this.type === "PointOrBox";
  }

  /** Begin a box with its first corner, where that is possible. @param {Position} corner */
  beginBox(corner) {
    if (this.type !== "PointOrBox") return false;
    this.isBox = true;
    this.points = [corner];
    return true;
  }

  /**
   * Set a point. On the last point, or the first one of a polygon, it completes the shape.
   *
   * @param {Position} point @param {number} reach in metres, how near is "on"
   * @returns {DrawnShape | null} the shape once it is complete
   */
  set(point, reach) {
    if (this.isBox) return { type: "Box", coordinates: [this.points[0], point] };
    if (this.isPoint()) return { type: "Point", coordinates: point };
    const isOn = (/** @type {Position | undefined} */ other) =>
      other !== undefined && squaredDistance(other, point) <= reach * reach;
    const closes = this.type === "Polygon" && this.points.length >= LEAST_POINTS.Polygon && isOn(this.points[0]);
    if (closes || isOn(this.points.at(-1))) return this.finish();
    this.points.push(point);
    return null;
  }

  /** The shape, if it has enough points. @returns {DrawnShape | null} */
  finish() {
    if (this.isPoint() || this.lacks() > 0) return null;
    const [first = []] = this.points;
    return this.type === "Polygon"
      ? { type: "Polygon", coordinates: [[...this.points, first]] }
      : { type: "LineString", coordinates: this.points };
  }

  /** How many points are missing. */
  lacks() {
    return Math.max(0, (this.isBox ? 2 : LEAST_POINTS[this.type]) - this.points.length);
  }

  removeLast() {
    const removed = this.points.pop();
    if (!this.points.length) this.isBox = false;
    return removed !== undefined;
  }
}
