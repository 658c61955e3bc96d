/** Where the map looks: at a whole property, at one object, or wherever an object is that is not in view. */

import { buffer, containsExtent, getCenter, getHeight, getWidth, isEmpty } from "ol/extent.js";

import { MAX_ZOOM } from "./map_layers.js";

const PADDING_PX = [30, 30, 30, 30];
const FIT_MAX_ZOOM = 21;
// Around an object, to see what it lies in: a share of its size, and at least so many metres.
const CONTEXT_SHARE = 0.5;
const LEAST_CONTEXT_M = 8;
const SMALL_PX = 60;

export class Framing {
  /** @param {import("ol/Map.js").default} map @param {import("./map_layers.js").MapLayers} layers */
  constructor(map, layers) {
    this.map = map;
    this.layers = layers;
  }

  /** Show the whole property. */
  fit() {
    const extent = this.layers.boundary.getSource()?.getExtent();
    if (extent && !isEmpty(extent)) this.restingView().fit(extent, { padding: PADDING_PX, maxZoom: FIT_MAX_ZOOM, duration: 0 });
  }

  /** The view, which moves no further: a move by an arrow key takes a moment, and would go on after another one. */
  restingView() {
    const view = this.map.getView();
    if (view.getAnimating()) view.cancelAnimations();
    return view;
  }

  /** Show an object with some of what is around it, or the whole property if it is most of that. @param {number} id */
  fitObject(id) {
    const extent = this.layers.extentOf(id);
    const whole = this.layers.boundary.getSource()?.getExtent();
    if (!extent) return;
    const around = buffer(extent, Math.max(CONTEXT_SHARE * sizeOf(extent), LEAST_CONTEXT_M));
    if (whole && !isEmpty(whole) && sizeOf(around) >= sizeOf(whole)) return this.fit();
    this.restingView().fit(around, { maxZoom: MAX_ZOOM, duration: 0 });
  }

  /** Show an object if it is too small on the screen for its vertices to be seen. @param {number} id */
  fitIfSmall(id) {
    const extent = this.layers.extentOf(id);
    const resolution = this.map.getView().getResolution() ?? 1;
    if (extent && sizeOf(extent) / resolution < SMALL_PX) this.fitObject(id);
  }

  /** Move the map if an object is not in view as a whole: nobody decides about what they do not see. @param {number} id */
  bringIntoView(id) {
    const extent = this.layers.extentOf(id);
    const size = this.map.getSize();
    if (!extent || !size) return;
    const view = this.map.getView();
    const seen = view.calculateExtent(size);
    if (containsExtent(seen, extent)) return;
    const isSmaller = getWidth(extent) < getWidth(seen) && getHeight(extent) < getHeight(seen);
    if (isSmaller) this.restingView().setCenter(getCenter(extent));
    else this.fitObject(id);
  }
}

/** @param {import("ol/extent.js").Extent} extent */
function sizeOf(extent) {
  return Math.max(getWidth(extent), getHeight(extent));
}
