/**
 * Edits the vertices of the draft by mouse, pen or touch.
 *
 * A mouse drags any vertex, or an edge, which gets a vertex. A finger first taps a vertex, or an edge, and drags what
 * it has tapped: any other drag moves the map, so that panning and pinching never edit.
 */

import PointerInteraction from "ol/interaction/Pointer.js";

import { nearestEdge, nearestVertex, vertexAt } from "./outline_vertices.js";

/** @typedef {import("./drafting.js").Drafting} Drafting */
/** @typedef {import("./drafting.js").Draft} Draft */
/** @typedef {import("./draft_layer.js").DraftLayer} DraftLayer */
/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {import("./outline_vertices.js").Place} Place */
/** @typedef {import("ol/MapBrowserEvent.js").default<PointerEvent>} PointerMapEvent */
/** @typedef {{place: Place, from: Position, isNew: boolean}} Grab a vertex, or a new one in the edge that begins at a place */

const REACH_PX = { mouse: 12, touch: 24 };

export class VertexPointer extends PointerInteraction {
  /**
   * @param {Drafting} drafting @param {DraftLayer} layer
   * @param {{picked: () => void, dragged: (outline: import("./outline_vertices.js").Parts) => void}} on
   *   called when a vertex was picked, and with the outline while one is dragged
   */
  constructor(drafting, layer, on) {
    super();
    this.drafting = drafting;
    this.layer = layer;
    this.on_ = on;
    /** @type {{draft: Draft | null, grab: Grab, offset: Position, change: Partial<Draft> | null} | null} */
    this.drag = null;
  }

  /** A drag that is not over ends here. @override @param {boolean} isActive */
  setActive(isActive) {
    super.setActive(isActive);
    if (isActive) return;
    this.drag = null;
    this.handlingDownUpSequence = false;
    const viewport = this.getMap()?.getViewport();
    if (viewport) viewport.style.cursor = "";
  }

  /** @override @param {import("ol/MapBrowserEvent.js").default<any>} event */
  handleEvent(event) {
    if (event.type === "click" && isTouch(event) && this.getActive()) this.tap(event);
    return super.handleEvent(event);
  }

  /** @override @param {PointerMapEvent} event */
  handleMoveEvent(event) {
    if (isTouch(event)) return;
    const grab = this.grabAt(event);
    this.layer.showGrab(grab?.from ?? null);
    const viewport = event.map.getViewport();
    if (viewport) viewport.style.cursor = grab ? "pointer" : "";
  }

  /** @override @param {PointerMapEvent} event */
  handleDownEvent(event) {
    if (event.originalEvent.button > 0 || this.getPointerCount() > 1) return false;
    const grab = this.grabAt(event);
    if (!grab || (isTouch(event) && !this.isUnderCursor(grab))) return false;
    if (event.originalEvent.altKey && !grab.isNew) {
      this.drafting.removeVertex(grab.place);
      this.layer.showGrab(null);
      return true;
    }
    const [x = 0, y = 0] = event.coordinate;
    const offset = [(grab.from[0] ?? 0) - x, (grab.from[1] ?? 0) - y];
    this.drag = { draft: this.drafting.now, grab, offset, change: null };
    return true;
  }

  /** @override @param {PointerMapEvent} event */
  handleDragEvent(event) {
    if (!this.drag) return;
    // A second finger: this is a pinch. Another draft: a key has undone what was dragged.
    if (this.getPointerCount() > 1 || this.drafting.now !== this.drag.draft) return this.giveUp();
    const { grab, offset } = this.drag;
    const to = [(event.coordinate[0] ?? 0) + (offset[0] ?? 0), (event.coordinate[1] ?? 0) + (offset[1] ?? 0)];
    this.drag.change = grab.isNew
      ? this.drafting.inserted(grab.place, grab.from, to)
      : this.drafting.moved(grab.place, to);
    this.layer.grab = to;
    this.layer.show(this.drag.change);
    if (this.drag.change.outline) this.on_.dragged(this.drag.change.outline);
  }

  /** @override @param {PointerMapEvent} event */
  handleUpEvent(event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag || this.drafting.now !== drag.draft) return false;
    const { place, isNew } = drag.grab;
    if (isTouch(event)) this.layer.grab = null;
    if (drag.change) this.drafting.change(drag.change);
    if (drag.change || !isNew) this.pick(isNew ? { ...place, index: place.index + 1 } : place);
    return false;
  }

  giveUp() {
    this.drag = null;
    this.layer.grab = null;
    this.layer.show();
  }

  /** @param {PointerMapEvent} event */
  tap(event) {
    const grab = this.grabAt(event);
    if (!grab || this.isUnderCursor(grab)) return;
    if (grab.isNew) this.drafting.change(this.drafting.inserted(grab.place, grab.from, grab.from));
    this.pick(grab.isNew ? { ...grab.place, index: grab.place.index + 1 } : grab.place);
  }

  /** @param {Place} place */
  pick(place) {
    this.drafting.putCursor(place);
    this.layer.showMarks();
    this.on_.picked();
  }

  /** @param {Grab} grab */
  isUnderCursor(grab) {
    return !grab.isNew && grab.from === this.drafting.cursorPosition();
  }

  /** @param {PointerMapEvent} event @returns {Grab | null} */
  grabAt(event) {
    const outline = this.drafting.outline();
    const pixels = isTouch(event) ? REACH_PX.touch : REACH_PX.mouse;
    const reach = pixels * (event.map.getView().getResolution() ?? 1);
    const place = nearestVertex(outline, event.coordinate, reach);
    const from = place && vertexAt(outline, place);
    if (place && from) return { place, from, isNew: false };
    const edge = nearestEdge(outline, event.coordinate, reach);
    return edge && { place: edge.place, from: edge.on, isNew: true };
  }
}

/** @param {PointerMapEvent} event */
function isTouch(event) {
  return event.originalEvent.pointerType === "touch";
}
