/** Zooms in on a double click, unless it is the end of a line or of an outline that is drawn. */

import DoubleClickZoom from "ol/interaction/DoubleClickZoom.js";

export class DoubleClick extends DoubleClickZoom {
  /** @param {() => boolean} isDrawing */
  constructor(isDrawing) {
    super();
    this.isDrawing = isDrawing;
  }

  /** @override @param {import("ol/MapBrowserEvent.js").default<any>} event */
  handleEvent(event) {
    return event.type === "dblclick" && this.isDrawing() ? true : super.handleEvent(event);
  }
}
