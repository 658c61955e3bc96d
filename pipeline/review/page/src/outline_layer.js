/** Outlines on the map that are not the stored ones: two versions of an object, or what waits to be saved. */

import Feature from "ol/Feature.js";
import MultiPolygon from "ol/geom/MultiPolygon.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import { fromLonLat } from "ol/proj.js";
import { Fill, Stroke, Style } from "ol/style.js";

/** @typedef {import("./types.js").Geometry} Geometry */

export const THEIRS_COLOUR = "#e0002d";
export const MINE_COLOUR = "#0057ff";

export class OutlineLayer {
  /** @param {import("ol/Map.js").default} map */
  constructor(map) {
    this.source = new VectorSource();
    map.addLayer(new VectorLayer({ source: this.source, style: (feature) => styleOf(feature), zIndex: 5 }));
  }

  /** @param {Geometry | null} theirs @param {Geometry[]} mine each in degrees */
  show(theirs, mine) {
    this.clear();
    if (theirs) this.add(theirs, THEIRS_COLOUR);
    for (const each of mine) this.add(each, MINE_COLOUR);
  }

  /** @param {Geometry} geometry @param {string} colour */
  add(geometry, colour) {
    const feature = new Feature(new MultiPolygon(metresOf(geometry)));
    feature.set("colour", colour);
    this.source.addFeature(feature);
  }

  clear() {
    if (!this.source.isEmpty()) this.source.clear();
  }
}

/** @param {Geometry} geometry @returns {number[][][][]} */
function metresOf(geometry) {
  const parts = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  return parts.map((/** @type {number[][][]} */ rings) => rings.map((ring) => ring.map((each) => fromLonLat(each))));
}

/** @param {import("ol/Feature.js").FeatureLike} feature */
function styleOf(feature) {
  const colour = String(feature.get("colour"));
  return [
    new Style({ stroke: new Stroke({ color: "#ffffff", width: 5 }), fill: new Fill({ color: `${colour}33` }) }),
    new Style({ stroke: new Stroke({ color: colour, width: 3, lineDash: [12, 6] }) }),
  ];
}
