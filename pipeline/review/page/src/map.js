/** The map of one property: imagery, boundary, detections; a detection that is edited or drawn. */

import Feature from "ol/Feature.js";
import OlMap from "ol/Map.js";
import View from "ol/View.js";
import Control from "ol/control/Control.js";
import ScaleLine from "ol/control/ScaleLine.js";
import Zoom from "ol/control/Zoom.js";
import MultiPolygon from "ol/geom/MultiPolygon.js";
import KeyboardPan from "ol/interaction/KeyboardPan.js";
import { defaults } from "ol/interaction/defaults.js";

import { make } from "./dialogs.js";
import { DoubleClick } from "./double_click.js";
import { DraftLayer } from "./draft_layer.js";
import { Drafting, draftOf } from "./drafting.js";
import { toDegrees, toMetres } from "./exact_coordinates.js";
import { Framing } from "./framing.js";
import { Legend } from "./legend.js";
import { MAX_ZOOM, MapLayers } from "./map_layers.js";
import { countVertices } from "./outline_vertices.js";
import { ShapeInput, degreesOf, keepInView } from "./shape_input.js";
import { vertexStops } from "./stops.js";
import { VertexPointer } from "./vertex_pointer.js";

/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./outline_vertices.js").Parts} Parts */

/** @typedef {{neighbours: {id: number, outline: Geometry}[], united: number[]}} Companions other objects that a draft changes, or takes in */

const HIT_TOLERANCE_PX = 4;
// A finger or a mouse that moves less has clicked.
const MOVE_TOLERANCE_PX = 3;
const OPACITY_WHILE_DRAFTING = 0.35;
// A larger outline is measured when it is dropped, not while it is dragged.
const MOST_VERTICES_WHILE_DRAGGING = 1000;
const LEAST_FAR_STEP = 5;
const SCALE_MIN_PX = 80;
const SQUARE_HALF_PX = 30;

export class PropertyMap {
  /** @param {HTMLElement} target @param {(id: number) => void} onPick */
  constructor(target, onPick) {
    /** @type {number | null} */
    this.selected = null;
    /** @type {number | null} the object that is edited */
    this.edited = null;
    /** @type {Map<number, Parts>} the outlines of the objects that are not rejected */
    this.outlines = new Map();
    /** @type {Map<number, string>} */
    this.labels = new Map();
    this.onChange = () => {};
    /** Called while a vertex of an outline that is not large is dragged, with the outline in degrees. */
    this.onDrag = (/** @type {Geometry} */ _outline) => {};
    /** Called when the reviewer has picked a vertex. */
    this.onCursor = () => {};
    /** Called when a shape that is drawn got a point, or lost one. */
    this.onSketch = () => {};
    /** Called with the address of a tile that could not be shown. */
    this.onNoImagery = (/** @type {string} */ _address) => {};
    /** @type {HTMLElement | undefined} */
    this.imageryButton = undefined;
    this.layers = new MapLayers(() => this.selected, () => this.edited);
    this.map = new OlMap({
      target,
      layers: [this.layers.imagery, this.layers.overview, this.layers.boundary, this.layers.detections],
      view: new View({ center: [0, 0], zoom: 2, maxZoom: MAX_ZOOM }),
      moveTolerance: MOVE_TOLERANCE_PX,
      // The arrow keys move what is drawn, if something is.
      interactions: defaults({ keyboard: false, doubleClickZoom: false }).extend([
        new KeyboardPan({ condition: () => this.mode() === "none" }),
        new DoubleClick(() => this.isDrafting() || this.input.hasJustEnded()),
      ]),
      controls: [new Zoom(), new Control({ element: this.buttons() }), new ScaleLine({ minWidth: SCALE_MIN_PX })],
    });
    this.framing = new Framing(this.map, this.layers);
    this.legend = new Legend(target);
    this.drafting = new Drafting(() => this.showChange());
    this.draftLayer = new DraftLayer(this.map, this.drafting);
    this.map.addLayer(this.draftLayer.layer);
    this.pointer = new VertexPointer(this.drafting, this.draftLayer, {
      picked: () => this.onCursor(),
      dragged: (outline) => {
        if (countVertices(outline) <= MOST_VERTICES_WHILE_DRAGGING) this.onDrag(toDegrees(outline));
      },
    });
    this.map.addInteraction(this.pointer);
    this.pointer.setActive(false);
    this.input = new ShapeInput(this.map, () => this.onSketch());
    this.map.on("click", (event) => {
      const id = this.isDrafting() ? null : this.objectAt(event.pixel);
      if (id === null) return;
      this.selected = id; // what was clicked is in view: the map stays
      onPick(id);
    });
  }

  /**
   * The object that a click on a pixel means: the smallest one there, or the next larger one if that is selected.
   * Rejected ones are picked in the list alone.
   *
   * @param {number[]} pixel @returns {number | null}
   */
  objectAt(pixel) {
    const hits = this.map.getFeaturesAtPixel(pixel, {
      layerFilter: (layer) => layer === this.layers.detections,
      hitTolerance: HIT_TOLERANCE_PX,
    });
    const ids = [...new Set(hits.map((feature) => Number(feature.getId())))].filter((id) => this.outlines.has(id));
    const size = (/** @type {number} */ id) => new MultiPolygon(this.outlines.get(id) ?? []).getArea();
    ids.sort((a, b) => size(a) - size(b));
    return ids[(ids.indexOf(this.selected ?? -1) + 1) % ids.length] ?? null;
  }

  /** @param {Property} property @param {boolean} fit whether to move there */
  show(property, fit) {
    this.legend.show(property);
    this.layers.showCounty(property.county, (address) => this.onNoImagery(address));
    const boundary = this.layers.boundary.getSource();
    boundary?.clear();
    if (property.boundary) {
      const outline = new MultiPolygon(toMetres(property.boundary));
      const feature = new Feature(outline);
      feature.set("source", property.source);
      boundary?.addFeature(feature);
      if (fit) this.framing.fit();
    }
    const detections = this.layers.detections.getSource();
    detections?.clear();
    this.outlines = new Map();
    this.labels = new Map(property.detections.map((each) => [each.id, each.label]));
    for (const each of property.detections) {
      const outline = toMetres(each.geometry);
      detections?.addFeature(this.feature(each, outline));
      if (each.state !== "rejected") this.outlines.set(each.id, outline);
    }
  }

  buttons() {
    const fit = mapButton("Show the whole property (0)", "⤢", () => this.framing.fit());
    this.imageryButton = mapButton("Show the imagery alone (I)", "◐", () => void this.setImageryAlone(!this.layers.isImageryAlone));
    this.imageryButton.setAttribute("aria-pressed", "false");
    return make("div", { class: "map-buttons ol-control" }, fit, this.imageryButton);
  }

  /** @param {number} by levels */
  zoom(by) {
    this.map.getView().adjustZoom(by);
  }

  /** How many vertices a far step of the cursor is: a hundredth of them. */
  farStep() {
    return Math.max(LEAST_FAR_STEP, Math.round(countVertices(this.drafting.outline()) / 100));
  }

  /** @param {Detection} detection @param {Parts} outline */
  feature(detection, outline) {
    const feature = new Feature(new MultiPolygon(outline));
    feature.setId(detection.id);
    feature.setProperties({ label: detection.label, state: detection.state }, true);
    return feature;
  }

  /** Select an object, which comes into view. @param {number | null} id */
  select(id) {
    const isOther = id !== this.selected;
    this.selected = id;
    this.layers.detections.changed();
    if (!isOther || id === null) return;
    this.setImageryAlone(false); // nobody decides about what is hidden
    this.framing.bringIntoView(id);
  }

  /** Hide all that is drawn over the imagery, but for the boundary, or show it again. @param {boolean} isAlone */
  setImageryAlone(isAlone) {
    this.layers.setImageryAlone(isAlone, [this.draftLayer.layer, this.input.layer]);
    this.imageryButton?.setAttribute("aria-pressed", String(isAlone));
    this.map.getTargetElement()?.classList.toggle("imagery-alone", isAlone); // without the legend
    return isAlone;
  }

  isDrafting() {
    return this.drafting.isActive() || this.input.isDrawing();
  }

  /** Edit a detection's vertices; `onChange` is called after each change. @param {number} id */
  edit(id) {
    const outline = this.outlines.get(id);
    if (outline) this.begin(outline, id);
  }

  /** Draw a new outline; `onChange` is called when it is closed. */
  async draw() {
    this.cancel();
    const drawn = await this.input.ask("Polygon");
    if (!drawn) return;
    this.begin([drawn.coordinates]);
    this.onChange();
  }

  /** A new outline that is not closed yet, as if it were, in degrees; null with fewer than three corners. @returns {Geometry | null} */
  sketchedOutline() {
    const drawn = this.drafting.isActive() ? null : this.input.sketch?.finish();
    return drawn?.type === "Polygon" ? toDegrees([drawn.coordinates]) : null;
  }

  /**
   * Have the reviewer draw a shape for a tool; null if they give it up.
   *
   * @param {import("./sketch.js").ShapeType} type
   * @param {import("./shape_input.js").Stop[]} [stops] where the crosshair can go in one step
   * @returns {Promise<Geometry | null>} in degrees; a box as two corners
   */
  async askShape(type, stops = vertexStops(this.drafting.outline())) {
    this.pointer.setActive(false);
    this.draftLayer.showGrab(null);
    const drawn = await this.input.ask(type, stops);
    if (!this.input.isDrawing()) this.pointer.setActive(this.drafting.isActive());
    return drawn && { type: drawn.type, coordinates: degreesOf(drawn.coordinates) };
  }

  /** The other objects of a label, as they are in the draft. @param {string} label */
  othersOf(label) {
    return new Map([...this.drafting.neighbours()].filter(([id]) => this.labels.get(id) === label));
  }

  /** The outline of another object, as it is in the draft. @param {number} id @returns {Geometry | null} */
  otherOutline(id) {
    const outline = this.drafting.neighbours().get(id);
    return outline ? toDegrees(outline) : null;
  }

  /**
   * Change the draft; it can be undone.
   *
   * @param {Geometry} outline in degrees
   * @param {Geometry[]} [rest] what a split has cut off
   * @param {number} [united] another object that is a part of it now
   */
  changeDraft(outline, rest = [], united) {
    const { now } = this.drafting;
    this.drafting.change({
      outline: toMetres(outline),
      cutOff: [...(now?.cutOff ?? []), ...rest],
      ...(united === undefined ? {} : this.drafting.uniting(united)),
    });
  }

  /** Whether shared edges move together from now on. */
  toggleShared() {
    this.drafting.movesShared = !this.drafting.movesShared;
    return this.drafting.movesShared;
  }

  /** What else changes with the outline. @returns {Companions} */
  companions() {
    const { neighbours = new Map(), united = [] } = this.drafting.now ?? {};
    return { neighbours: [...neighbours].map(([id, outline]) => ({ id, outline: toDegrees(outline) })), united };
  }

  /** What splits have cut off the draft: objects of their own. @returns {Geometry[]} */
  cutOff() {
    return this.drafting.now?.cutOff ?? [];
  }

  /** @param {Parts} outline in metres @param {number | null} [id] of the detection; null for a new one */
  begin(outline, id = null) {
    this.cancel();
    const others = new Map(this.outlines);
    if (id !== null) others.delete(id);
    this.edited = id;
    this.setImageryAlone(false);
    this.drafting.begin(draftOf(outline), others);
    this.pointer.setActive(true);
    this.draftLayer.show();
    this.layers.detections.setOpacity(OPACITY_WHILE_DRAFTING);
    this.layers.detections.changed();
  }

  /**
   * Begin with an outline that is not the stored one.
   *
   * @param {number | null} id @param {Geometry} outline in degrees @param {Companions} [companions]
   */
  resume(id, outline, { neighbours, united } = { neighbours: [], united: [] }) {
    this.begin(toMetres(outline), id);
    const changed = new Map(neighbours.map((each) => [each.id, toMetres(each.outline)]));
    if (changed.size || united.length) this.drafting.change({ neighbours: changed, united });
  }

  showChange() {
    this.draftLayer.show();
    this.onChange();
  }

  /** Take back the last point of a shape, or the last change of the draft; whether there was one. */
  undo() {
    return this.input.isDrawing() ? this.input.removePoint() : this.drafting.undo();
  }

  redo() {
    return this.drafting.redo();
  }

  /** Go to the next vertex, or back; where the cursor is then. @param {number} step */
  stepVertex(step) {
    const where = this.drafting.stepVertex(step);
    const vertex = this.drafting.cursorPosition();
    if (vertex) keepInView(this.map, vertex);
    this.draftLayer.showMarks();
    return where;
  }

  /** Move the crosshair, or the vertex under the cursor, by pixels. @param {number} right @param {number} down */
  moveByKey(right, down) {
    if (this.input.isDrawing()) return this.input.moveCrosshair(right, down);
    const metres = this.map.getView().getResolution() ?? 1;
    this.drafting.moveVertex(right * metres, -down * metres);
    const vertex = this.drafting.cursorPosition();
    if (vertex) keepInView(this.map, vertex);
  }

  addVertex() {
    return this.drafting.addVertex();
  }

  removeVertex() {
    return this.drafting.removeVertex();
  }

  hasCursor() {
    return this.drafting.cursorPosition() !== null;
  }

  /** What the keys are for: a shape that is drawn, the draft, or neither. @returns {"shape" | "draft" | "none"} */
  mode() {
    return this.input.isDrawing() ? "shape" : this.drafting.isActive() ? "draft" : "none";
  }

  /** Whether an outline is being drawn of which nothing is there yet. */
  isDrawing() {
    const { input } = this;
    const isEmpty = input.isDrawing() && input.crosshair === null && !input.sketch?.points.length;
    return isEmpty && !this.drafting.isActive();
  }

  /** Begin the outline with a square in the middle of the map. */
  drawSquare() {
    const view = this.map.getView();
    const [x = 0, y = 0] = view.getCenter() ?? [];
    const half = SQUARE_HALF_PX * (view.getResolution() ?? 1);
    const ring = [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half], [x - half, y - half]];
    this.begin([[ring]]);
    this.onChange();
  }

  /** Where a vertex of the draft is in the map, in pixels. @param {number} index */
  pixelOfVertex(index) {
    const vertex = this.drafting.outline()[0]?.[0]?.[index];
    return vertex ? this.map.getPixelFromCoordinate(vertex) : null;
  }

  /** The outline of the draft in degrees; null if there is none. @returns {Geometry | null} */
  draftGeometry() {
    const parts = this.drafting.outline();
    return parts.length ? toDegrees(parts) : null;
  }

  cancel() {
    this.input.giveUp();
    this.pointer.setActive(false);
    this.drafting.end();
    this.edited = null;
    this.draftLayer.grab = null;
    this.draftLayer.show();
    this.layers.detections.setOpacity(1);
    this.layers.detections.changed();
  }
}

/** @param {string} title @param {string} sign @param {() => void} run */
function mapButton(title, sign, run) {
  const button = make("button", { type: "button", title, "aria-label": title }, sign);
  button.addEventListener("click", run);
  return button;
}
