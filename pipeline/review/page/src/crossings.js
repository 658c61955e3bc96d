/** Where an outline crosses itself: found before it is saved, and marked on the map. */

import Feature from "ol/Feature.js";
import Point from "ol/geom/Point.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import { fromLonLat } from "ol/proj.js";
import { Circle, Stroke, Style } from "ol/style.js";

import { keepInView } from "./shape_input.js";

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {[ax: number, ay: number, bx: number, by: number]} Edge its left end first */

// About 0.1 µm: rounding makes no crossing. Only the server tells whether outlines touch exactly.
const LEAST_DEPTH_DEG = 1e-12;
const IN_VIEW_PX = 40;

/** The first crossing of an outline with itself, in degrees; null if there is none. @param {Geometry} outline @returns {number[] | null} */
export function crossingOf(outline) {
  const edges = edgesOf(outline).sort((a, b) => a[0] - b[0]);
  /** @type {Edge[]} edges that reach to the one at hand, or may do */
  let open = [];
  for (const edge of edges) {
    open = open.filter((each) => each[2] >= edge[0]);
    for (const each of open) {
      const at = crossing(each, edge);
      if (at) return at;
    }
    open.push(edge);
  }
  return null;
}

/** @param {Geometry} outline @returns {Edge[]} */
function edgesOf(outline) {
  /** @type {number[][][][]} */
  const parts = outline.type === "Polygon" ? [outline.coordinates] : outline.coordinates;
  /** @type {Edge[]} */
  const edges = [];
  for (const ring of parts.flat())
    ring.forEach(([bx = 0, by = 0], number) => {
      const [ax = 0, ay = 0] = ring[number - 1] ?? [bx, by];
      if (ax !== bx || ay !== by) edges.push(ax <= bx ? [ax, ay, bx, by] : [bx, by, ax, ay]);
    });
  return edges;
}

/** Where two edges cross inside both of them. @param {Edge} a @param {Edge} b @returns {number[] | null} */
function crossing(a, b) {
  if (Math.max(a[1], a[3]) < Math.min(b[1], b[3]) || Math.max(b[1], b[3]) < Math.min(a[1], a[3])) return null;
  const [from, to] = [distance(a, b[0], b[1]), distance(a, b[2], b[3])];
  if (!areApart(from, to) || !areApart(distance(b, a[0], a[1]), distance(b, a[2], a[3]))) return null;
  const share = from / (from - to);
  return [b[0] + share * (b[2] - b[0]), b[1] + share * (b[3] - b[1])];
}

/** Whether two points lie on two sides of an edge. @param {number} from @param {number} to */
function areApart(from, to) {
  return from * to < 0 && Math.min(Math.abs(from), Math.abs(to)) > LEAST_DEPTH_DEG;
}

/** Of a point from the line of an edge, positive on its left. @param {Edge} edge @param {number} x @param {number} y */
function distance([ax, ay, bx, by], x, y) {
  return ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / Math.hypot(bx - ax, by - ay);
}

/** A ring around a place on the map. */
export class PlaceMark {
  /** @param {import("ol/Map.js").default} map */
  constructor(map) {
    this.map = map;
    this.source = new VectorSource();
    map.addLayer(new VectorLayer({ source: this.source, style: STYLE, zIndex: 8 }));
  }

  /** @param {number[]} at in degrees */
  show(at) {
    this.clear();
    const place = fromLonLat(at);
    this.source.addFeature(new Feature(new Point(place)));
    keepInView(this.map, place, IN_VIEW_PX);
  }

  clear() {
    if (!this.source.isEmpty()) this.source.clear();
  }
}

const STYLE = [
  new Style({ image: new Circle({ radius: 14, stroke: new Stroke({ color: "#ffffff", width: 6 }) }) }),
  new Style({ image: new Circle({ radius: 14, stroke: new Stroke({ color: "#e0002d", width: 3 }) }) }),
];
