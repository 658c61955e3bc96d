/** The map of one property: imagery, boundary, detections; a detection that is edited or drawn. */

import OlMap from "ol/Map.js";
import View from "ol/View.js";
import Feature from "ol/Feature.js";
import MultiPoint from "ol/geom/MultiPoint.js";
import MultiPolygon from "ol/geom/MultiPolygon.js";
import Point from "ol/geom/Point.js";
import Draw from "ol/interaction/Draw.js";
import Modify from "ol/interaction/Modify.js";
import TileLayer from "ol/layer/Tile.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorTileLayer from "ol/layer/VectorTile.js";
import MVT from "ol/format/MVT.js";
import VectorSource from "ol/source/Vector.js";
import VectorTileSource from "ol/source/VectorTile.js";
import XYZ from "ol/source/XYZ.js";
import { toLonLat } from "ol/proj.js";
import { Circle, Fill, Stroke, Style } from "ol/style.js";

import { ExactCoordinates } from "./exact_coordinates.js";
import { BOUNDARY, labelColour } from "./palette.js";
import { VertexCursor } from "./vertex_cursor.js";

/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Geometry} Geometry */

const MIN_ZOOM = 12;
const MAX_ZOOM = 22;

export class PropertyMap {
  /** @param {HTMLElement} target @param {(id: number) => void} onPick */
  constructor(target, onPick) {
    this.exact = new ExactCoordinates();
    this.imagery = new TileLayer();
    this.county = new VectorTileLayer({ declutter: false, style: overviewStyle, opacity: 0.6 });
    this.boundary = new VectorSource();
    this.detections = new VectorSource();
    this.draft = new VectorSource();
    /** @type {number | null} */
    this.selected = null;
    this.countyKey = "";
    /** @type {Draft[]} the draft after each change, and as it was at first */
    this.done = [];
    /** @type {Draft[]} what was taken back, the newest last */
    this.undone = [];
    this.onChange = () => {};
    /** Called with the address of a tile that could not be shown. */
    this.onNoImagery = (/** @type {string} */ _address) => {};
    this.giveUpShape = () => {};
    this.cursor = new VertexCursor();
    this.boundaryLayer = new VectorLayer({ source: this.boundary, style: boundaryStyle });
    this.detectionLayer = new VectorLayer({
      source: this.detections,
      style: (feature) => detectionStyle(feature, feature.getId() === this.selected),
    });
    this.draftLayer = new VectorLayer({
      source: this.draft,
      style: () => {
        const vertex = this.cursor.position(this.draftCoordinates());
        return vertex ? [...draftStyle, cursorStyle(vertex)] : draftStyle;
      },
    });
    this.map = new OlMap({
      target,
      layers: [this.imagery, this.county, this.boundaryLayer, this.detectionLayer, this.draftLayer],
      view: new View({ center: [0, 0], zoom: 2, maxZoom: MAX_ZOOM }),
    });
    this.map.on("click", (event) => {
      if (this.isDrafting()) return;
      const hit = this.map.forEachFeatureAtPixel(event.pixel, (feature) => feature.getId(), {
        layerFilter: (layer) => layer === this.detectionLayer,
        hitTolerance: 4,
      });
      if (typeof hit === "number") onPick(hit);
    });
  }

  /** @param {Property} property @param {boolean} fit whether to move there */
  show(property, fit) {
    if (property.county !== this.countyKey) this.showCounty(property.county);
    this.exact = new ExactCoordinates();
    this.boundary.clear();
    if (property.boundary) {
      const outline = new MultiPolygon(this.exact.toMetres(property.boundary));
      const feature = new Feature(outline);
      feature.set("source", property.source);
      this.boundary.addFeature(feature);
      if (fit) {
        this.map.getView().fit(outline, { padding: [30, 30, 30, 30], maxZoom: 21, duration: 0 });
      }
    }
    this.detections.clear();
    this.detections.addFeatures(property.detections.map((each) => this.feature(each)));
  }

  /** @param {string} county */
  showCounty(county) {
    this.countyKey = county;
    const base = encodeURIComponent(county);
    const tiles = new XYZ({
      url: `/tiles/imagery/${base}/{z}/{x}/{y}.webp`,
      minZoom: 15,
      maxZoom: MAX_ZOOM,
      transition: 0,
    });
    tiles.on("tileloaderror", (event) => this.onNoImagery(String(event.tile.getKey())));
    this.imagery.setSource(tiles);
    this.county.setSource(
      new VectorTileSource({
        format: new MVT(),
        url: `/tiles/county/${base}/{z}/{x}/{y}.mvt`,
        minZoom: MIN_ZOOM,
        maxZoom: 17,
      }),
    );
  }

  /** @param {Detection} detection */
  feature(detection) {
    const feature = new Feature(new MultiPolygon(this.exact.toMetres(detection.geometry)));
    feature.setId(detection.id);
    feature.setProperties({ label: detection.label, state: detection.state }, true);
    return feature;
  }

  /** @param {number | null} id */
  select(id) {
    this.selected = id;
    this.detectionLayer.changed();
  }

  isDrafting() {
    return this.draft.getFeatures().length > 0 || this.drawing !== undefined;
  }

  /** Edit a detection's vertices; `onChange` is called after each change. @param {number} id */
  edit(id) {
    const feature = this.detections.getFeatureById(id);
    const geometry = feature && !Array.isArray(feature) ? feature.getGeometry() : undefined;
    if (!(geometry instanceof MultiPolygon)) return;
    this.begin(geometry.getCoordinates());
  }

  /** Draw a new outline; `onChange` is called when it is closed. */
  draw() {
    this.cancel();
    const drawing = new Draw({ source: new VectorSource(), type: "Polygon" });
    this.drawing = drawing;
    drawing.on("drawend", (event) => {
      const geometry = event.feature.getGeometry();
      this.map.removeInteraction(drawing);
      this.drawing = undefined;
      // @ts-expect-error a Polygon was asked for
      this.begin([geometry.getCoordinates()]);
      this.onChange();
    });
    this.map.addInteraction(drawing);
  }

  /**
   * Have the reviewer draw a shape for a tool; null if they cancel.
   *
   * @param {"Polygon" | "LineString" | "Point"} type
   * @returns {Promise<Geometry | null>} in degrees
   */
  askShape(type) {
    this.stopDrawing();
    this.modify?.setActive(false);
    const drawing = new Draw({ source: new VectorSource(), type });
    this.drawing = drawing;
    this.map.addInteraction(drawing);
    return new Promise((resolve) => {
      this.giveUpShape = () => resolve(null);
      drawing.on("drawend", (event) => {
        const geometry = event.feature.getGeometry();
        // @ts-expect-error a geometry of this type has coordinates
        const coordinates = /** @type {any} */ (geometry.getCoordinates());
        this.giveUpShape = () => {};
        this.stopDrawing();
        resolve({ type, coordinates: degreesOf(coordinates) });
      });
    });
  }

  stopDrawing() {
    if (this.drawing) this.map.removeInteraction(this.drawing);
    this.drawing = undefined;
    this.modify?.setActive(true);
    this.giveUpShape();
    this.giveUpShape = () => {};
  }

  /**
   * Change the draft; it can be undone.
   *
   * @param {Geometry} outline in degrees
   * @param {Geometry[]} [rest] what a split has cut off
   */
  changeDraft(outline, rest = []) {
    const changed = { coordinates: this.exact.toMetres(outline), cutOff: [...this.cutOff(), ...rest] };
    this.done.push(changed);
    this.undone = [];
    this.setDraft(changed);
  }

  /** What splits have cut off the draft: objects of their own. @returns {Geometry[]} */
  cutOff() {
    return this.done.at(-1)?.cutOff ?? [];
  }

  /** @param {Position[][][]} coordinates */
  begin(coordinates) {
    this.cancel();
    const feature = new Feature(new MultiPolygon(coordinates));
    this.draft.addFeature(feature);
    this.detectionLayer.setOpacity(0.35);
    this.modify = new Modify({ source: this.draft, pixelTolerance: 12 });
    this.cursor.reset();
    this.done = [{ coordinates, cutOff: [] }];
    this.undone = [];
    this.modify.on("modifyend", () => {
      this.done.push({ coordinates: this.draftCoordinates(), cutOff: this.cutOff() });
      this.undone = [];
      this.onChange();
    });
    this.map.addInteraction(this.modify);
  }

  /** Take back the last change of the draft; whether there was one. */
  undo() {
    const last = this.done.length > 1 ? this.done.pop() : undefined;
    if (!last) return false;
    this.undone.push(last);
    this.setDraft(this.done.at(-1));
    return true;
  }

  /** Make the change again that was taken back; whether there was one. */
  redo() {
    const next = this.undone.pop();
    if (!next) return false;
    this.done.push(next);
    this.setDraft(next);
    return true;
  }

  /** Go to the next vertex, or back; where the cursor is then. @param {number} step */
  stepVertex(step) {
    const where = this.cursor.step(this.draftCoordinates(), step);
    this.draftLayer.changed();
    return where;
  }

  /** Move the vertex under the cursor by pixels. @param {number} right @param {number} down */
  moveVertex(right, down) {
    const metres = this.map.getView().getResolution() ?? 1;
    return this.keepDraft(this.cursor.move(this.draftCoordinates(), [right * metres, -down * metres]));
  }

  addVertex() {
    return this.keepDraft(this.cursor.insert(this.draftCoordinates()));
  }

  removeVertex() {
    return this.keepDraft(this.cursor.remove(this.draftCoordinates()));
  }

  /** @param {Position[][][] | null} coordinates */
  keepDraft(coordinates) {
    if (!coordinates) return false;
    const changed = { coordinates, cutOff: this.cutOff() };
    this.done.push(changed);
    this.undone = [];
    this.setDraft(changed);
    return true;
  }

  hasCursor() {
    return this.cursor.at !== null && this.draft.getFeatures().length > 0;
  }

  /** Whether an outline is being drawn of which nothing is there yet. */
  isDrawing() {
    return this.drawing !== undefined && this.draft.getFeatures().length === 0;
  }

  /** Begin the outline with a square in the middle of the map. */
  drawSquare() {
    const view = this.map.getView();
    const [x = 0, y = 0] = view.getCenter() ?? [];
    const half = 30 * (view.getResolution() ?? 1);
    const ring = [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half], [x - half, y - half]];
    this.begin([[ring]]);
    this.onChange();
  }

  /** @param {Draft | undefined} changed */
  setDraft(changed) {
    const feature = this.draft.getFeatures()[0];
    if (!feature || !changed) return;
    feature.setGeometry(new MultiPolygon(changed.coordinates));
    this.onChange();
  }

  /** @returns {Position[][][]} */
  draftCoordinates() {
    const geometry = this.draft.getFeatures()[0]?.getGeometry();
    return geometry instanceof MultiPolygon ? geometry.getCoordinates() : [];
  }

  /** Where a vertex of the draft is in the map, in pixels. @param {number} index */
  pixelOfVertex(index) {
    const vertex = this.draftCoordinates()[0]?.[0]?.[index];
    return vertex ? this.map.getPixelFromCoordinate(vertex) : null;
  }

  /** The outline of the draft in degrees; null if there is none. @returns {Geometry | null} */
  draftGeometry() {
    const parts = this.draftCoordinates();
    return parts.length ? this.exact.toDegrees(parts) : null;
  }

  cancel() {
    this.stopDrawing();
    if (this.modify) this.map.removeInteraction(this.modify);
    this.modify = undefined;
    this.draft.clear();
    this.detectionLayer.setOpacity(1);
  }
}

/** @typedef {number[]} Position */
/** @typedef {{coordinates: Position[][][], cutOff: Geometry[]}} Draft an outline in metres */

/** Metres to degrees, at any depth. @param {any} coordinates @returns {any} */
function degreesOf(coordinates) {
  return Array.isArray(coordinates[0]) ? coordinates.map(degreesOf) : toLonLat(coordinates);
}

/** @param {import("ol/Feature.js").FeatureLike} feature */
function boundaryStyle(feature) {
  const isLot = feature.get("source") === "lot";
  return [
    new Style({ stroke: new Stroke({ color: "#000000", width: 5 }) }),
    new Style({
      stroke: new Stroke({
        color: isLot ? BOUNDARY.lot : BOUNDARY.buffer_30m,
        width: 2.5,
        lineDash: isLot ? undefined : [8, 8],
      }),
    }),
  ];
}

/** @param {import("ol/Feature.js").FeatureLike} feature @param {boolean} isSelected */
function detectionStyle(feature, isSelected) {
  const colour = labelColour(String(feature.get("label")));
  const isRejected = feature.get("state") === "rejected";
  const isAccepted = feature.get("state") === "accepted";
  return new Style({
    fill: new Fill({ color: `${colour}${isRejected ? "00" : isSelected ? "66" : "33"}` }),
    stroke: new Stroke({
      color: isRejected ? "#9aa2ad" : colour,
      width: isSelected ? 4 : 2,
      lineDash: isAccepted ? undefined : isRejected ? [2, 6] : [10, 5],
    }),
    zIndex: isSelected ? 1 : 0,
  });
}

/** @param {import("ol/Feature.js").FeatureLike} feature */
function overviewStyle(feature) {
  const isBoundary = feature.get("layer") === "boundaries";
  const colour = isBoundary ? "#ffffff" : labelColour(String(feature.get("label")));
  return new Style({ stroke: new Stroke({ color: colour, width: 1 }) });
}

/** @param {Position} vertex */
function cursorStyle(vertex) {
  return new Style({
    geometry: new Point(vertex),
    image: new Circle({
      radius: 9,
      fill: new Fill({ color: "#0057ff" }),
      stroke: new Stroke({ color: "#ffffff", width: 3 }),
    }),
    zIndex: 3,
  });
}

// More handles than these would hide the outline; the one under the pointer is always drawn.
const MOST_HANDLES = 1500;

const draftStyle = [
  new Style({
    geometry: (feature) => {
      const geometry = feature.getGeometry();
      if (!(geometry instanceof MultiPolygon)) return undefined;
      const vertices = geometry.getCoordinates().flat(2);
      return vertices.length > MOST_HANDLES ? undefined : new MultiPoint(vertices);
    },
    image: new Circle({
      radius: 4,
      fill: new Fill({ color: "#ffffff" }),
      stroke: new Stroke({ color: "#0057ff", width: 1.5 }),
    }),
    zIndex: 2,
  }),
  new Style({
    fill: new Fill({ color: "#ffffff33" }),
    stroke: new Stroke({ color: "#ffffff", width: 3 }),
    image: new Circle({ radius: 6, fill: new Fill({ color: "#ffffff" }) }),
  }),
  new Style({ stroke: new Stroke({ color: "#0057ff", width: 1.5 }) }),
];
