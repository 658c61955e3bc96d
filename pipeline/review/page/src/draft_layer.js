/** Shows the draft: its outline, what changes with it, handles on its vertices, and where the pointer would grab it. */

import Feature from "ol/Feature.js";
import MultiPoint from "ol/geom/MultiPoint.js";
import MultiPolygon from "ol/geom/MultiPolygon.js";
import Point from "ol/geom/Point.js";
import LayerGroup from "ol/layer/Group.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";

import { toMetres } from "./exact_coordinates.js";
import { cursorStyle, cutOffStyle, draftStyle, grabStyle, handleStyle, neighbourStyle } from "./map_styles.js";

/** @typedef {import("./drafting.js").Drafting} Drafting */
/** @typedef {import("./drafting.js").Draft} Draft */
/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {import("./types.js").Geometry} Geometry */

// More handles than these in view would hide the outline; the one under the pointer is always drawn.
const MOST_HANDLES = 600;

export class DraftLayer {
  /** @param {import("ol/Map.js").default} map @param {Drafting} drafting */
  constructor(map, drafting) {
    this.map = map;
    this.drafting = drafting;
    this.outline = new VectorSource();
    this.marks = new VectorSource();
    const common = { updateWhileInteracting: true, updateWhileAnimating: true };
    this.layer = new LayerGroup({
      layers: [
        new VectorLayer({ source: this.outline, style: outlineStyle, ...common }),
        new VectorLayer({ source: this.marks, style: (mark) => MARKS[String(mark.get("kind"))], ...common }),
      ],
    });
    /** @type {WeakMap<Geometry, MultiPolygon>} what splits have cut off, in metres */
    this.pieces = new WeakMap();
    /** @type {Position | null} where the pointer would grab the outline */
    this.grab = null;
    map.on("moveend", () => this.showMarks());
  }

  /** Show the draft as it is, or as it would be. @param {Partial<Draft>} change */
  show(change = {}) {
    const draft = this.drafting.now && { ...this.drafting.now, ...change };
    this.outline.clear(true);
    if (draft) {
      const neighbours = [...draft.neighbours.values()].map((parts) => companion("neighbour", new MultiPolygon(parts)));
      const pieces = draft.cutOff.map((each) => companion("cut off", this.pieceOf(each)));
      this.outline.addFeatures([...neighbours, ...pieces, new Feature(new MultiPolygon(draft.outline))]);
    }
    this.outline.changed();
    this.showMarks();
  }

  /** @param {Geometry} geometry in degrees */
  pieceOf(geometry) {
    const piece = this.pieces.get(geometry) ?? new MultiPolygon(toMetres(geometry));
    this.pieces.set(geometry, piece);
    return piece;
  }

  /** @param {Position | null} grab where the pointer is on the outline */
  showGrab(grab) {
    if (grab === this.grab) return;
    this.grab = grab;
    this.showMarks();
  }

  showMarks() {
    const cursor = this.drafting.cursorPosition();
    this.marks.clear(true);
    this.marks.addFeatures([
      mark("handle", new MultiPoint(this.handles())),
      ...(this.grab ? [mark("grab", new Point(this.grab))] : []),
      ...(cursor ? [mark("cursor", new Point(cursor))] : []),
    ]);
  }

  /** The vertices in view; none if they are too many. */
  handles() {
    if (!this.map.getSize()) return [];
    const [west = 0, south = 0, east = 0, north = 0] = this.map.getView().calculateExtent();
    const isInView = (/** @type {Position} */ [x = 0, y = 0]) => x >= west && x <= east && y >= south && y <= north;
    const found = this.drafting.outline().flat().flatMap((ring) => ring.slice(1).filter(isInView));
    return found.length > MOST_HANDLES ? [] : found;
  }
}

/** Another object that changes with the draft. @param {string} kind @param {MultiPolygon} outline */
function companion(kind, outline) {
  const feature = new Feature(outline);
  feature.set("kind", kind);
  return feature;
}

/** @param {string} kind @param {import("ol/geom/Geometry.js").default} geometry */
function mark(kind, geometry) {
  const feature = new Feature(geometry);
  feature.set("kind", kind);
  return feature;
}

/** @param {import("ol/Feature.js").FeatureLike} feature */
function outlineStyle(feature) {
  const kind = feature.get("kind");
  return kind === "neighbour" ? neighbourStyle : kind === "cut off" ? cutOffStyle : draftStyle;
}

/** @type {Record<string, import("ol/style.js").Style>} */
const MARKS = { handle: handleStyle, grab: grabStyle, cursor: cursorStyle };
