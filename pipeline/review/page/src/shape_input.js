/**
 * Shapes that the reviewer draws on the map: an outline, or what a tool is used with.
 *
 * By mouse or touch: each click or tap sets a point; with Shift, a drag draws freehand, or a box. By keyboard: the
 * arrow keys move a crosshair, Enter sets a point there.
 */

import Feature from "ol/Feature.js";
import LineString from "ol/geom/LineString.js";
import MultiPoint from "ol/geom/MultiPoint.js";
import Point from "ol/geom/Point.js";
import Polygon, { fromExtent } from "ol/geom/Polygon.js";
import PointerInteraction from "ol/interaction/Pointer.js";
import VectorLayer from "ol/layer/Vector.js";
import { boundingExtent, buffer, containsCoordinate } from "ol/extent.js";
import VectorSource from "ol/source/Vector.js";

import { degreesAt } from "./exact_coordinates.js";
import { sketchStyle } from "./map_styles.js";
import { squaredDistance } from "./outline_vertices.js";
import { Sketch } from "./sketch.js";

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {import("./sketch.js").ShapeType} ShapeType */
/** @typedef {import("./sketch.js").DrawnShape} DrawnShape */
/** @typedef {{at: Position, name: string}} Stop where the crosshair can go in one step, and what is there */

const REACH_PX = { mouse: 12, touch: 24 };
const KEYBOARD_REACH_PX = 0.5;
const FREEHAND_STEP_PX = 3;
const EDGE_PX = 30;
const DOUBLE_CLICK_MS = 500;

export class ShapeInput extends PointerInteraction {
  /** @param {import("ol/Map.js").default} map @param {() => void} onChange called when a point was set or removed */
  constructor(map, onChange) {
    super();
    this.olMap = map;
    this.onChange = onChange;
    /** @type {Sketch | null} */
    this.sketch = null;
    /** @type {Stop[]} */
    this.stops = [];
    this.stop = -1;
    /** @type {Position | null} where the mouse is */
    this.mouse = null;
    this.isTouch = false;
    this.endedAt = -Infinity;
    /** @type {Position | null} moved by the arrow keys */
    this.crosshair = null;
    this.resolve = (/** @type {DrawnShape | null} */ _shape) => {};
    this.source = new VectorSource();
    this.layer = new VectorLayer({ source: this.source, style: sketchStyle, zIndex: 2 });
    map.addLayer(this.layer);
    map.addInteraction(this);
    this.setActive(false);
  }

  /** Whether a shape is being drawn. */
  isDrawing() {
    return this.sketch !== null;
  }

  /**
   * Have the reviewer draw a shape; null if they give it up.
   *
   * @param {ShapeType} type @param {Stop[]} [stops] where the crosshair can go in one step
   * @returns {Promise<DrawnShape | null>}
   */
  ask(type, stops = []) {
    this.giveUp();
    this.sketch = new Sketch(type);
    this.stops = stops;
    this.stop = -1;
    this.mouse = this.crosshair = null;
    this.setActive(true);
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  giveUp() {
    this.end(null);
  }

  /** Whether a shape was completed by the click before a double click. */
  hasJustEnded() {
    return performance.now() - this.endedAt < DOUBLE_CLICK_MS;
  }

  /** @param {DrawnShape | null} shape */
  end(shape) {
    this.endedAt = performance.now();
    this.sketch = null;
    this.setActive(false);
    this.source.clear();
    const { resolve } = this;
    this.resolve = () => {};
    resolve(shape);
  }

  /** Move the crosshair by pixels; the first step shows it. @param {number} right @param {number} down */
  moveCrosshair(right, down) {
    const metres = this.metresOf(1);
    const [x = 0, y = 0] = this.crosshair ?? this.sketch?.points.at(-1) ?? this.beginning();
    this.putCrosshair(this.crosshair ? [x + right * metres, y - down * metres] : [x, y]);
  }

  /** Where the crosshair begins: at the stop that is nearest to the middle of the map. @returns {Position} */
  beginning() {
    const middle = this.olMap.getView().getCenter() ?? [];
    const distance = (/** @type {Stop} */ { at }) => squaredDistance(at, middle);
    return [...this.stops].sort((a, b) => distance(a) - distance(b))[0]?.at ?? middle;
  }

  /** Put the crosshair on the next stop, or the one before; what is there. @param {number} step @returns {string} */
  stepStop(step) {
    if (!this.stops.length) return "";
    this.stop = this.stop < 0 && step < 0 ? this.stops.length - 1 : (this.stop + step + this.stops.length) % this.stops.length;
    const stop = this.stops[this.stop];
    if (stop) this.putCrosshair(stop.at);
    return stop?.name ?? "";
  }

  /** @param {Position} at */
  putCrosshair(at) {
    this.crosshair = at;
    keepInView(this.olMap, at, EDGE_PX);
    this.show();
    this.onChange();
  }

  /** Set a point at the crosshair; without one, show it. @param {boolean} [beginsBox] */
  setPoint(beginsBox = false) {
    if (!this.crosshair) return this.moveCrosshair(0, 0);
    if (beginsBox && this.sketch?.beginBox(this.crosshair)) return this.changed_();
    this.add(this.crosshair, KEYBOARD_REACH_PX);
  }

  /** Complete the shape; whether it had enough points. */
  finish() {
    const shape = this.sketch?.finish() ?? null;
    if (shape) this.end(shape);
    return shape !== null;
  }

  removePoint() {
    const isRemoved = this.sketch?.removeLast() ?? false;
    if (isRemoved) this.changed_();
    return isRemoved;
  }

  /** What to do next, for people. */
  hint() {
    const { sketch } = this;
    if (!sketch) return "";
    if (sketch.isBox) return "first corner set: go to the opposite one, Enter sets it";
    if (sketch.isPoint()) return "Enter takes this point";
    const count = `${sketch.points.length} ${sketch.points.length === 1 ? "point" : "points"}`;
    const lacks = sketch.lacks();
    const [set, finish] = this.isTouch && !this.crosshair ? ["tap", "or Finish the shape"] : ["Enter sets", "S finishes the shape"];
    return lacks ? `${count}, ${lacks} more needed: ${set} one` : `${count}: ${set} another, ${finish}`;
  }

  /** @param {Position} point @param {number} reachPx */
  add(point, reachPx) {
    if (!this.sketch) return;
    const shape = this.sketch.set(point, this.metresOf(reachPx));
    if (shape) this.end(shape);
    else this.changed_();
  }

  changed_() {
    this.show();
    this.onChange();
  }

  /** @override @param {import("ol/MapBrowserEvent.js").default<any>} event */
  handleEvent(event) {
    if (!this.sketch) return true;
    if (event.type === "click") {
      this.crosshair = null;
      this.isTouch = event.originalEvent.pointerType === "touch";
      this.add(event.coordinate, this.isTouch ? REACH_PX.touch : REACH_PX.mouse);
      return false;
    }
    if (event.type === "dblclick") return false;
    return super.handleEvent(event);
  }

  /** @override @param {import("ol/MapBrowserEvent.js").default<PointerEvent>} event */
  handleMoveEvent(event) {
    if (event.originalEvent.pointerType === "touch") return;
    this.mouse = event.coordinate;
    this.crosshair = null;
    this.show();
  }

  /** With Shift, a drag draws freehand, or a box. @override @param {import("ol/MapBrowserEvent.js").default<PointerEvent>} event */
  handleDownEvent(event) {
    if (!this.sketch || !event.originalEvent.shiftKey || this.sketch.type === "Point") return false;
    return this.sketch.beginBox(event.coordinate) || !this.sketch.isPoint();
  }

  /** @override @param {import("ol/MapBrowserEvent.js").default<PointerEvent>} event */
  handleDragEvent(event) {
    if (!this.sketch) return;
    this.mouse = event.coordinate;
    const last = this.sketch.points.at(-1);
    const isFar = !last || squaredDistance(last, event.coordinate) >= this.metresOf(FREEHAND_STEP_PX) ** 2;
    if (!this.sketch.isBox && isFar) this.sketch.points.push(event.coordinate);
    this.show();
  }

  /** @override @param {import("ol/MapBrowserEvent.js").default<PointerEvent>} event */
  handleUpEvent(event) {
    if (this.sketch?.isBox) this.add(event.coordinate, 0);
    else this.finish();
    return false;
  }

  show() {
    const { sketch } = this;
    this.source.clear(true);
    if (!sketch) return;
    const pointer = this.crosshair ?? this.mouse;
    const line = pointer && !sketch.isPoint() ? [...sketch.points, pointer] : sketch.points;
    const shapes = [];
    if (sketch.isBox && pointer) shapes.push(fromExtent(boundingExtent([...sketch.points, pointer])));
    else if (sketch.type === "Polygon" && line.length > 2) shapes.push(new Polygon([[...line, line[0] ?? []]]));
    else if (line.length > 1) shapes.push(new LineString(line));
    shapes.push(new MultiPoint(sketch.points));
    this.source.addFeatures(shapes.map((each) => new Feature(each)));
    if (this.crosshair) {
      const crosshair = new Feature(new Point(this.crosshair));
      crosshair.set("kind", "crosshair");
      this.source.addFeature(crosshair);
    }
  }

  /** @param {number} pixels */
  metresOf(pixels) {
    return pixels * (this.olMap.getView().getResolution() ?? 1);
  }
}

/** Move the map if a position is not in view. @param {import("ol/Map.js").default} map @param {Position} at @param {number} edgePx */
export function keepInView(map, at, edgePx = 0) {
  const view = map.getView();
  // What is to be shown, not what the last frame shows: a move of the map may not be drawn yet.
  const inside = buffer(view.calculateExtent(map.getSize()), -edgePx * (view.getResolution() ?? 1));
  if (!containsCoordinate(inside, at)) view.setCenter(at);
}

/** Metres to degrees, at any depth. @param {any} coordinates @returns {any} */
export function degreesOf(coordinates) {
  return Array.isArray(coordinates[0]) ? coordinates.map(degreesOf) : degreesAt(coordinates);
}
