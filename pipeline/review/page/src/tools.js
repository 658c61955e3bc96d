/** What changes the draft by a second shape: the reviewer draws it, the server computes the outline. */

import { call } from "./api.js";
import { say } from "./status.js";
import { holeStops, objectAt, objectStops, partAt, partStops } from "./stops.js";
import { area } from "./units.js";

/** @typedef {import("./editing.js").Editing} Editing */
/** @typedef {import("./panel.js").Actions} Actions */
/** @typedef {import("./types.js").Geometry} Geometry */

/** @typedef {{outline: Geometry, area_m2: number}} Changed */

/** @type {Record<string, {type?: "Polygon" | "LineString" | "Point", hint?: string}>} */
const TOOLS = {
  cut: { type: "Polygon", hint: "draw the piece to cut out" },
  join: { type: "Polygon", hint: "draw the piece to join" },
  split: { type: "LineString", hint: "draw a line across the object, from outside to outside or from vertex to vertex" },
  reshape: { type: "LineString", hint: "draw the new edge: begin and end beyond the old one" },
  drop_hole: { type: "Point", hint: "click inside the hole; V goes to a hole, Enter fills it" },
  clip: {},
};

/** @type {Record<string, string>} */
const HOW = {
  Polygon: ": click the corners, the first one again to close; or drag with Shift; or move the crosshair by arrow keys, Enter sets a corner, S closes",
  LineString: ": click along it, double-click ends it; or drag with Shift; or move the crosshair by arrow keys, V to a vertex, Enter sets a point, S ends",
};

const PART_REACH_PX = 12;
const SLOW_MS = 1500;
const LOADING = "looking at the imagery: the first click loads the segmenter, which takes ten seconds or more; the next ones take a moment";

export class Tools {
  /** @param {Editing} editing */
  constructor(editing) {
    this.editing = editing;
    this.map = editing.map;
  }

  /** @returns {Actions} */
  actions() {
    const named = Object.keys(TOOLS).map((tool) => [tool, () => this.use(tool)]);
    return { ...Object.fromEntries(named), unite: () => this.unite(), removePart: () => this.removePart(), redraw: () => this.redraw(), cutObject: () => this.cutObject(), mask: () => this.clickToMask() };
  }

  /** @param {string} tool */
  async use(tool) {
    const { type, hint } = TOOLS[tool] ?? {};
    let shape = null;
    if (type) {
      const holes = tool === "drop_hole" ? holeStops(this.map.drafting.outline()) : undefined;
      if (holes && !holes.length) return say("this outline has no hole");
      shape = await this.ask(type, `${hint}${HOW[type] ?? ""}`, holes);
      if (!shape) return;
    }
    const outline = this.map.draftGeometry();
    if (!outline) return;
    const changed = await this.change(tool, outline, shape);
    if (!changed) return;
    const [kept, rest] = changed;
    this.map.changeDraft(kept.outline, rest ? [rest.outline] : []);
    if (rest) say(`two objects: ${area(kept.area_m2)} and ${area(rest.area_m2)}; S saves both`);
  }

  /** Remove a part of the outline, such as what a cut has left at an edge. */
  async removePart() {
    const { drafting, input } = this.map;
    if (drafting.outline().length < 2) return say("this outline has one part only: reject the object instead");
    const hint = "click the part to remove; or V goes to one, Enter removes it";
    const point = await this.ask("Point", hint, partStops(drafting.outline()));
    if (!point) return;
    const part = partAt(drafting.outline(), point, input.metresOf(PART_REACH_PX));
    if (part === null) return say("there is no part at this point: nothing was removed");
    drafting.removePart(part);
  }

  /** Another outline instead of one that is not worth an edit; label and history stay. */
  async redraw() {
    const drawn = await this.ask("Polygon", `draw the outline anew${HOW["Polygon"]}`);
    if (drawn) this.map.changeDraft({ type: "MultiPolygon", coordinates: [drawn.coordinates] });
  }

  /** Another object of the same label becomes a part of this one. */
  async unite() {
    const label = this.editing.label();
    const others = this.map.othersOf(label);
    if (!label) return say("only a stored object can be united with another: save the outline first");
    if (!others.size) return say(`there is no other ${label} on this property`);
    const point = await this.ask("Point", `click the other ${label}; or V goes to one, Enter takes it`, objectStops(others, this.map.labels));
    if (!point) return;
    const id = objectAt(others, point);
    const [outline, other] = [this.map.draftGeometry(), id === null ? null : this.map.otherOutline(id)];
    if (id === null || !outline || !other) return say(`there is no other ${label} at this point: nothing was united`);
    const changed = await this.change("join", outline, other);
    if (!changed) return;
    const [united] = changed;
    this.map.changeDraft(united.outline, [], id);
    say(`one object of ${area(united.area_m2)}: S saves it and deletes the other, Z undoes`);
  }

  /** What another object covers is cut out of this one. */
  async cutObject() {
    const others = this.map.drafting.neighbours();
    if (!others.size) return say("there is no other object on this property");
    const hint = "click the object to cut out; or V goes to one, Enter takes it";
    const point = await this.ask("Point", hint, objectStops(others, this.map.labels));
    if (!point) return;
    const id = objectAt(others, point);
    const [outline, other] = [this.map.draftGeometry(), id === null ? null : this.map.otherOutline(id)];
    if (!outline || !other) return say("there is no other object at this point: nothing was cut out");
    const changed = await this.change("cut", outline, other);
    if (changed) this.map.changeDraft(changed[0].outline);
  }

  /** A click, or a box, becomes an outline by the segmenter that measured the lot. */
  async clickToMask() {
    const { panel } = this.editing;
    const isNew = !this.map.drafting.isActive();
    // Without an outline, the label that is known is that of the last one.
    const known = isNew ? "" : this.editing.label();
    const label = known || (await panel.decisions.askLabel("What do you click on?"));
    if (!label || !panel.property) return;
    const hint = `click the ${label}, or draw a box with Shift; or move the crosshair by arrow keys, Enter takes the point`;
    const shape = await this.ask("PointOrBox", hint);
    if (!shape) return;
    say("looking at the imagery");
    const where = shape.type === "Box" ? { box: boxOf(shape.coordinates) } : { point: shape.coordinates };
    const body = { property_key: panel.property.key, label, ...where };
    const before = this.map.drafting.now;
    const slow = setTimeout(() => this.map.drafting.now === before && say(LOADING), SLOW_MS);
    const mask = await call("POST", "/v1/review/masks", body).finally(() => clearTimeout(slow));
    if (this.map.drafting.now !== before || panel.property.key !== body.property_key || this.map.mode() === "shape") {
      return say("something else is drawn meanwhile: click again");
    }
    if (isNew) return this.editing.beginNew(mask.outline, label);
    const outline = this.map.draftGeometry();
    if (!outline) return;
    const joined = await this.change("join", outline, mask.outline);
    if (joined) this.map.changeDraft(joined[0].outline);
  }

  /**
   * @param {import("./sketch.js").ShapeType} type @param {string} hint
   * @param {import("./shape_input.js").Stop[]} [stops]
   */
  async ask(type, hint, stops) {
    say(hint);
    const asked = this.map.askShape(type, stops);
    this.editing.panel.enable();
    const shape = await asked;
    this.editing.panel.enable();
    return shape;
  }

  /**
   * Have the server change the outline; null if the reviewer has changed it meanwhile.
   *
   * @param {string} tool @param {Geometry} outline @param {Geometry | null} shape
   * @returns {Promise<[Changed, Changed?] | null>}
   */
  async change(tool, outline, shape) {
    const before = this.map.drafting.now;
    const body = { tool, outline, with_shape: shape, property_key: this.editing.panel.property?.key };
    const changed = await call("POST", "/v1/review/outlines", body);
    if (this.map.drafting.now === before) return changed;
    say("the outline was changed meanwhile: use the tool again");
    return null;
  }
}

/** @param {[number[], number[]]} corners in degrees @returns {number[]} west, south, east, north */
function boxOf([[ax = 0, ay = 0], [bx = 0, by = 0]]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}
