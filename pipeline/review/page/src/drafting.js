/**
 * What is edited or drawn: an outline, and what changes with it. Every change can be undone and redone.
 *
 * The draft is never changed in place, so a step of its history costs what it changed.
 */

import { moveTogether, removeTogether } from "./shared_edges.js";
import {
  between, countVertices, numberOf, placeOf, vertexAt, withAdjacent, withInserted, withVertex, withoutVertex,
} from "./outline_vertices.js";

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {import("./outline_vertices.js").Parts} Parts */
/** @typedef {import("./outline_vertices.js").Place} Place */

/**
 * @typedef {object} Draft
 * @property {Parts} outline In metres of the map.
 * @property {Geometry[]} cutOff In degrees, what splits have cut off: objects of their own.
 * @property {Map<number, Parts>} neighbours Outlines of other objects that changed along shared edges.
 * @property {number[]} united Other objects that have become a part of this one.
 */

export class Drafting {
  /** @param {() => void} onChange called after each change */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Draft[]} the draft after each change, and as it was at first */
    this.done = [];
    /** @type {Draft[]} what was taken back, the newest last */
    this.undone = [];
    /** @type {Map<number, Parts>} the other objects of the property */
    this.others = new Map();
    this.movesShared = false;
    /** @type {number | null} the number of the vertex under the cursor */
    this.cursor = null;
  }

  /** @returns {Draft | null} */
  get now() {
    return this.done.at(-1) ?? null;
  }

  isActive() {
    return this.done.length > 0;
  }

  isChanged() {
    return this.done.length > 1;
  }

  /** @param {Draft} draft @param {Map<number, Parts>} [others] objects that may share edges with it */
  begin(draft, others = new Map()) {
    this.done = [draft];
    this.undone = [];
    this.others = others;
    this.cursor = null;
  }

  /** Go on with changes that were given up. @param {Draft[]} done @param {Draft[]} undone */
  restore(done, undone) {
    this.done = done;
    this.undone = undone;
    this.onChange();
  }

  end() {
    this.done = [];
    this.undone = [];
    this.cursor = null;
  }

  /** @returns {Parts} in metres of the map; empty without a draft */
  outline() {
    return this.now?.outline ?? [];
  }

  /** Other objects as they are in the draft. @returns {Map<number, Parts>} */
  neighbours() {
    const united = this.now?.united ?? [];
    const all = [...this.others, ...(this.now?.neighbours ?? [])];
    return new Map(all.filter(([id]) => !united.includes(id)));
  }

  /** Make a change, which can be undone. @param {Partial<Draft>} change */
  change(change) {
    if (!this.now) return;
    this.done.push({ ...this.now, ...change });
    this.undone = [];
    this.onChange();
  }

  /** Take back the last change; whether there was one. */
  undo() {
    const last = this.done.length > 1 ? this.done.pop() : undefined;
    if (last) this.undone.push(last);
    if (last) this.onChange();
    return last !== undefined;
  }

  /** Make the change again that was taken back; whether there was one. */
  redo() {
    const next = this.undone.pop();
    if (next) this.done.push(next);
    if (next) this.onChange();
    return next !== undefined;
  }

  /** The draft with a vertex elsewhere; shared edges follow. @param {Place} place @param {Position} to @returns {Partial<Draft>} */
  moved(place, to) {
    const outline = withVertex(this.outline(), place, to);
    return { outline, ...this.following(this.outline(), place, to) };
  }

  /**
   * The draft with a new vertex in the edge that begins at a place.
   *
   * @param {Place} place @param {Position} from on the edge @param {Position} to @returns {Partial<Draft>}
   */
  inserted(place, from, to) {
    const next = { ...place, index: place.index + 1 };
    const onEdge = withInserted(this.outline(), place, from);
    return { outline: withVertex(onEdge, next, to), ...this.following(onEdge, next, to) };
  }

  /** @param {Parts} outline before the move @param {Place} place @param {Position} to @returns {Partial<Draft>} */
  following(outline, place, to) {
    const ring = this.movesShared ? withAdjacent(outline, place) : null;
    return ring ? this.along(moveTogether(this.neighbours(), { from: ring.at, to, ...ring })) : {};
  }

  /** @param {Map<number, Parts>} changed @returns {Partial<Draft>} */
  along(changed) {
    return changed.size ? { neighbours: new Map([...(this.now?.neighbours ?? []), ...changed]) } : {};
  }

  /** Another object becomes a part of the outline: it changes no more along shared edges. @param {number} id @returns {Partial<Draft>} */
  uniting(id) {
    const { neighbours = new Map(), united = [] } = this.now ?? {};
    return { neighbours: new Map([...neighbours].filter(([other]) => other !== id)), united: [...united, id] };
  }

  /** @returns {Place | null} */
  cursorPlace() {
    return this.cursor === null ? null : placeOf(this.outline(), this.cursor);
  }

  /** @returns {Position | null} */
  cursorPosition() {
    const place = this.cursorPlace();
    return place && vertexAt(this.outline(), place);
  }

  /** @param {Place | null} place */
  putCursor(place) {
    this.cursor = place && numberOf(this.outline(), place);
  }

  /** Go to the next vertex, or back; where the cursor is then. @param {number} step */
  stepVertex(step) {
    const count = countVertices(this.outline());
    if (!count) return "no vertex";
    this.cursor = this.cursor === null ? 0 : (this.cursor + step + count) % count;
    return this.whereCursor();
  }

  whereCursor() {
    const place = this.cursorPlace();
    if (!place || this.cursor === null) return "no vertex";
    const outline = this.outline();
    const ring = place.ring ? `hole ${place.ring}` : "";
    const part = outline.length > 1 ? `part ${place.part + 1}` : "";
    const where = [part, ring].filter(Boolean).join(", ");
    return `vertex ${this.cursor + 1} of ${countVertices(outline)}${where && ` (${where})`}`;
  }

  /** Move the vertex under the cursor. @param {number} dx @param {number} dy in metres of the map */
  moveVertex(dx, dy) {
    const [place, at] = [this.cursorPlace(), this.cursorPosition()];
    if (!place || !at) return false;
    this.change(this.moved(place, [(at[0] ?? 0) + dx, (at[1] ?? 0) + dy]));
    return true;
  }

  /** Add a vertex in the middle of the edge after the cursor, which goes there. */
  addVertex() {
    const place = this.cursorPlace();
    const edge = place && withAdjacent(this.outline(), place);
    if (!place || !edge) return false;
    const middle = between(edge.at, edge.after, 0.5);
    if (this.cursor !== null) this.cursor += 1;
    this.change({ outline: withInserted(this.outline(), place, middle) });
    return true;
  }

  /** Remove a part of the outline. @param {number} part */
  removePart(part) {
    this.cursor = null;
    this.change({ outline: this.outline().filter((_, number) => number !== part) });
  }

  /** Remove a vertex; false if its ring would have fewer than three. @param {Place | null} place */
  removeVertex(place = this.cursorPlace()) {
    const at = place && vertexAt(this.outline(), place);
    const outline = place && withoutVertex(this.outline(), place);
    if (!at || !outline) return false;
    const along = this.movesShared ? this.along(removeTogether(this.neighbours(), at)) : {};
    if (this.cursor !== null) this.cursor %= countVertices(outline);
    this.change({ outline, ...along });
    return true;
  }
}

/** A draft that begins with an outline. @param {Parts} outline @returns {Draft} */
export function draftOf(outline) {
  return { outline, cutOff: [], neighbours: new Map(), united: [] };
}
