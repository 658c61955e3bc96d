/** The layers of the map, from below: imagery, the county's overview, boundary, detections, draft. */

import Feature from "ol/Feature.js";
import MVT from "ol/format/MVT.js";
import TileLayer from "ol/layer/Tile.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorTileLayer from "ol/layer/VectorTile.js";
import VectorSource from "ol/source/Vector.js";
import VectorTileSource from "ol/source/VectorTile.js";
import { get } from "ol/proj.js";
import XYZ from "ol/source/XYZ.js";

import { boundaryStyle, detectionStyle, overviewStyle } from "./map_styles.js";

const OVERVIEW_MIN_ZOOM = 12;
const OVERVIEW_MAX_ZOOM = 17;
const OVERVIEW_OPACITY = 0.6;
const IMAGERY_MIN_ZOOM = 15;
export const MAX_ZOOM = 22;

export class MapLayers {
  /** @param {() => number | null} selected the detection that is selected @param {() => number | null} edited the one that is drawn as a draft instead */
  constructor(selected, edited) {
    this.imagery = new TileLayer();
    this.overview = new VectorTileLayer({ declutter: false, style: overviewStyle, opacity: OVERVIEW_OPACITY });
    this.boundary = new VectorLayer({ source: new VectorSource(), style: boundaryStyle });
    this.detections = new VectorLayer({
      source: new VectorSource(),
      style: (feature) =>
        feature.getId() === edited() ? undefined : detectionStyle(feature, feature.getId() === selected()),
    });
    this.county = "";
    this.isImageryAlone = false;
  }

  /** @param {number} id of a detection */
  extentOf(id) {
    const feature = this.detections.getSource()?.getFeatureById(id);
    return feature instanceof Feature ? (feature.getGeometry()?.getExtent() ?? null) : null;
  }

  /**
   * Hide what is drawn over the imagery, but for the boundary, or show it again.
   *
   * @param {boolean} isAlone @param {import("ol/layer/Base.js").default[]} drawn what the reviewer draws
   */
  setImageryAlone(isAlone, drawn) {
    if (isAlone === this.isImageryAlone) return;
    this.isImageryAlone = isAlone;
    this.overview.setOpacity(isAlone ? 0 : OVERVIEW_OPACITY); // whether it is shown at all, the audit says
    for (const layer of [this.detections, ...drawn]) layer.setVisible(!isAlone);
  }

  /**
   * Show a county's imagery and overview.
   *
   * @param {string} county
   * @param {(address: string) => void} onNoImagery called with the address of a tile that failed
   */
  showCounty(county, onNoImagery) {
    if (county === this.county) return;
    this.county = county;
    const base = encodeURIComponent(county);
    const tiles = new XYZ({
      url: `/tiles/imagery/${base}/{z}/{x}/{y}.webp`,
      minZoom: IMAGERY_MIN_ZOOM,
      maxZoom: MAX_ZOOM,
      transition: 0,
    });
    tiles.on("tileloaderror", ({ tile }) => {
      const mercator = get("EPSG:3857");
      const address = mercator && tiles.getTileUrlFunction()(tile.getTileCoord(), 1, mercator);
      if (address) onNoImagery(address);
    });
    this.imagery.setSource(tiles);
    this.overview.setSource(
      new VectorTileSource({
        format: new MVT(),
        url: `/tiles/county/${base}/{z}/{x}/{y}.mvt`,
        minZoom: OVERVIEW_MIN_ZOOM,
        maxZoom: OVERVIEW_MAX_ZOOM,
      }),
    );
  }
}
