/** Edits the vertices of an outline without a mouse: one vertex is the cursor. */

/** @typedef {number[]} Position */
/** @typedef {Position[][][]} Parts the rings of each part; the last position of a ring is the first */

export class VertexCursor {
  constructor() {
    /** @type {number | null} among all vertices; null before the first step */
    this.at = null;
  }

  reset() {
    this.at = null;
  }

  /** The vertex under the cursor. @param {Parts} parts @returns {Position | null} */
  position(parts) {
    const place = this.place(parts);
    return place ? (place.ring[place.index] ?? null) : null;
  }

  /** @param {Parts} parts @param {number} step @returns {string} where the cursor is, for people */
  step(parts, step) {
    const count = countOf(parts);
    if (!count) return "no vertex";
    this.at = this.at === null ? 0 : (this.at + step + count) % count;
    return `vertex ${this.at + 1} of ${count}: arrow keys move it, Enter adds one, Delete removes it`;
  }

  /** The parts with the vertex moved; null without a cursor. @param {Parts} parts @param {Position} by */
  move(parts, [dx = 0, dy = 0]) {
    return this.change(parts, (ring, index) => {
      const [x = 0, y = 0] = ring[index] ?? [];
      ring[index] = [x + dx, y + dy];
    });
  }

  /** The parts with a vertex in the middle of the edge after the cursor, which goes there. @param {Parts} parts */
  insert(parts) {
    const changed = this.change(parts, (ring, index) => {
      const [[ax = 0, ay = 0] = [], [bx = 0, by = 0] = []] = [ring[index], ring[(index + 1) % ring.length]];
      ring.splice(index + 1, 0, [(ax + bx) / 2, (ay + by) / 2]);
    });
    if (changed && this.at !== null) this.at += 1;
    return changed;
  }

  /** The parts without the vertex; null if its ring would have fewer than three. @param {Parts} parts */
  remove(parts) {
    const place = this.place(parts);
    if (!place || place.ring.length <= 4) return null;
    const changed = this.change(parts, (ring, index) => ring.splice(index, 1));
    if (changed && this.at !== null) this.at %= countOf(changed);
    return changed;
  }

  /** @param {Parts} parts @param {(openRing: Position[], index: number) => void} edit */
  change(parts, edit) {
    const place = this.place(parts);
    if (!place) return null;
    return parts.map((rings) =>
      rings.map((ring) => {
        if (ring !== place.ring) return ring;
        const open = ring.slice(0, -1);
        edit(open, place.index);
        return [...open, [...(open[0] ?? [])]];
      }),
    );
  }

  /** @param {Parts} parts */
  place(parts) {
    if (this.at === null) return null;
    let left = this.at;
    for (const ring of parts.flat()) {
      if (left < ring.length - 1) return { ring, index: left };
      left -= ring.length - 1;
    }
    return null;
  }
}

/** @param {Parts} parts */
function countOf(parts) {
  return parts.flat().reduce((count, ring) => count + ring.length - 1, 0);
}
