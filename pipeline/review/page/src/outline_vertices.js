/** The vertices of an outline. Nothing is changed in place: a changed outline shares what was not touched. */

/** @typedef {number[]} Position */
/** @typedef {Position[][][]} Parts the rings of each part; the last position of a ring is the first */
/** @typedef {{part: number, ring: number, index: number}} Place of a vertex; of an edge: where it begins */

const MIN_RING = 4; // three vertices and the first one again

/** @param {Parts} parts */
export function countVertices(parts) {
  return parts.flat().reduce((count, ring) => count + ring.length - 1, 0);
}

/** The place of a vertex by its number among all. @param {Parts} parts @param {number} number @returns {Place | null} */
export function placeOf(parts, number) {
  let left = number;
  for (const [part, rings] of parts.entries())
    for (const [ring, positions] of rings.entries()) {
      if (left < positions.length - 1) return { part, ring, index: left };
      left -= positions.length - 1;
    }
  return null;
}

/** @param {Parts} parts @param {Place} place */
export function numberOf(parts, place) {
  const before = parts.slice(0, place.part).flat();
  const same = parts[place.part]?.slice(0, place.ring) ?? [];
  return countVertices([[...before, ...same]]) + place.index;
}

/** @param {Parts} parts @param {Place} place @returns {Position | null} */
export function vertexAt(parts, { part, ring, index }) {
  return parts[part]?.[ring]?.[index] ?? null;
}

/** A vertex with the ones before and after it in its ring. @param {Parts} parts @param {Place} place */
export function withAdjacent(parts, { part, ring, index }) {
  const open = parts[part]?.[ring]?.slice(0, -1) ?? [];
  const [at, before, after] = [open[index], open.at(index - 1), open[(index + 1) % open.length]];
  return at && before && after ? { at, before, after } : null;
}

/** @param {Parts} parts @param {Place} place @param {Position} position */
export function withVertex(parts, place, position) {
  return changeRing(parts, place, (open) => open.splice(place.index, 1, position));
}

/** With a vertex in the edge that begins at a place. @param {Parts} parts @param {Place} place @param {Position} position */
export function withInserted(parts, place, position) {
  return changeRing(parts, place, (open) => open.splice(place.index + 1, 0, position));
}

/** Without a vertex; null if its ring would have fewer than three. @param {Parts} parts @param {Place} place */
export function withoutVertex(parts, place) {
  const ring = parts[place.part]?.[place.ring];
  if (!ring || ring.length <= MIN_RING) return null;
  return changeRing(parts, place, (open) => open.splice(place.index, 1));
}

/**
 * The vertex nearest to a point, if it is within reach.
 *
 * @param {Parts} parts @param {Position} point @param {number} reach @returns {Place | null}
 */
export function nearestVertex(parts, point, reach) {
  let [best, found] = [reach * reach, /** @type {Place | null} */ (null)];
  parts.forEach((rings, part) =>
    rings.forEach((positions, ring) => {
      for (let index = 0; index < positions.length - 1; index++) {
        const squared = squaredDistance(positions[index] ?? [], point);
        if (squared <= best) [best, found] = [squared, { part, ring, index }];
      }
    }),
  );
  return found;
}

/**
 * The edge nearest to a point, if it is within reach, and the point on it.
 *
 * @param {Parts} parts @param {Position} point @param {number} reach
 * @returns {{place: Place, on: Position} | null}
 */
export function nearestEdge(parts, point, reach) {
  let [best, found] = [reach * reach, /** @type {{place: Place, on: Position} | null} */ (null)];
  parts.forEach((rings, part) =>
    rings.forEach((positions, ring) => {
      for (let index = 0; index < positions.length - 1; index++) {
        const [start, end] = [positions[index] ?? [], positions[index + 1] ?? []];
        const on = between(start, end, Math.min(1, Math.max(0, ratioAlong(point, start, end))));
        const squared = squaredDistance(on, point);
        if (squared <= best) [best, found] = [squared, { place: { part, ring, index }, on }];
      }
    }),
  );
  return found;
}

/** @param {Position} a @param {Position} b */
export function squaredDistance([ax = 0, ay = 0], [bx = 0, by = 0]) {
  return (ax - bx) ** 2 + (ay - by) ** 2;
}

/** Where the foot of a point is on a line: 0 at its start, 1 at its end. @param {Position} point @param {Position} start @param {Position} end */
export function ratioAlong([x = 0, y = 0], [ax = 0, ay = 0], [bx = 0, by = 0]) {
  const squared = (bx - ax) ** 2 + (by - ay) ** 2;
  return squared ? ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / squared : 0;
}

/** @param {Position} start @param {Position} end @param {number} ratio @returns {Position} */
export function between([ax = 0, ay = 0], [bx = 0, by = 0], ratio) {
  return [ax + (bx - ax) * ratio, ay + (by - ay) * ratio];
}

/** The holes of an outline, and their parts. @param {Parts} parts */
export function holesOf(parts) {
  return parts.flatMap((rings) => rings.slice(1));
}

/** @param {Parts} parts @param {Place} place @param {(open: Position[]) => void} edit */
function changeRing(parts, place, edit) {
  return parts.map((rings, part) =>
    part !== place.part ? rings : rings.map((ring, number) => (number !== place.ring ? ring : edited(ring, edit))),
  );
}

/** @param {Position[]} ring @param {(open: Position[]) => void} edit */
export function edited(ring, edit) {
  const open = ring.slice(0, -1);
  edit(open);
  const [first = []] = open;
  return [...open, first];
}
