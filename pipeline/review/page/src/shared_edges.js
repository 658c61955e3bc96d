/**
 * Edges that two outlines share: what a neighbour does when a vertex of the outline that is edited moves.
 *
 * A neighbour's vertex there moves to the same place. One that lies on an edge beside the vertex goes to the nearest
 * point of that edge as it is then. Where the vertex lies on a neighbour's edge, the neighbour gets a vertex.
 */

import { toLonLat } from "ol/proj.js";

import { between, edited, ratioAlong, squaredDistance } from "./outline_vertices.js";

/** @typedef {import("./outline_vertices.js").Position} Position */
/** @typedef {import("./outline_vertices.js").Parts} Parts */
/** @typedef {{from: Position, to: Position, before: Position, after: Position}} Move of a vertex; the ones beside it stay */

/** How far outlines may be apart where they share an edge: less than a pixel of any imagery. */
export const SHARED_WITHIN_M = 0.05;
// A vertex that would move less than a millimetre keeps its digits.
const STILL_THERE = 0.02;

/**
 * The neighbours that share what moves, as they are after it.
 *
 * @param {Map<number, Parts>} neighbours in metres of the map @param {Move} move
 * @returns {Map<number, Parts>} those that change
 */
export function moveTogether(neighbours, move) {
  const beside = [move.before, move.after].map((each) => Math.sqrt(squaredDistance(move.from, each)));
  // Where vertices lie closer together than the tolerance, each is still taken for itself.
  const most = Math.min(...beside) / 3;
  return changed(neighbours, move.from, (ring, reach) => followed(ring, move, Math.min(reach, most)));
}

/**
 * The neighbours without their vertices at a place.
 *
 * @param {Map<number, Parts>} neighbours @param {Position} at @returns {Map<number, Parts>} those that change
 */
export function removeTogether(neighbours, at) {
  return changed(neighbours, at, (ring, reach) => {
    const isThere = (/** @type {Position} */ each) => squaredDistance(each, at) <= reach * reach;
    const kept = ring.slice(0, -1).filter((each) => !isThere(each));
    return kept.length < 3 || kept.length === ring.length - 1 ? ring : [...kept, kept[0] ?? []];
  });
}

/** @param {Map<number, Parts>} neighbours @param {Position} at @param {(ring: Position[], reach: number) => Position[]} change */
function changed(neighbours, at, change) {
  const [, latitude = 0] = toLonLat(at);
  const reach = SHARED_WITHIN_M / Math.cos((latitude * Math.PI) / 180); // metres of the map are stretched
  const found = new Map();
  for (const [id, parts] of neighbours) {
    const after = parts.map((rings) => rings.map((ring) => change(ring, reach)));
    const isChanged = after.some((rings, part) => rings.some((ring, number) => ring !== parts[part]?.[number]));
    if (isChanged) found.set(id, after);
  }
  return found;
}

/** @param {Position[]} ring @param {Move} move @param {number} reach @returns {Position[]} the same array if it shares nothing */
function followed(ring, move, reach) {
  let isChanged = false;
  const after = edited(ring, (open) => {
    const positions = open.flatMap((start, index) => {
      const end = open[(index + 1) % open.length] ?? start;
      return [movedVertex(start, move, reach), ...newOnEdge(start, end, move, reach)];
    });
    isChanged = positions.length !== open.length || positions.some((each, index) => each !== open[index]);
    open.splice(0, open.length, ...positions);
  });
  return isChanged ? after : ring;
}

/** @param {Position} vertex @param {Move} move @param {number} reach */
function movedVertex(vertex, { from, to, before, after }, reach) {
  if (isNear(vertex, from, reach)) return isNearestTo(vertex, from, [before, after]) ? to : vertex;
  const fixed = [before, after].find((each) => isOnEdge(vertex, from, each, reach));
  if (!fixed) return vertex;
  const nearest = between(to, fixed, Math.min(1, Math.max(0, ratioAlong(vertex, to, fixed))));
  return isNear(vertex, nearest, reach * STILL_THERE) ? vertex : nearest;
}

/**
 * What a neighbour's edge gets so that it stays shared: the vertex that lies on it, and the ones beside that which stay.
 *
 * @param {Position} start @param {Position} end @param {Move} move @param {number} reach
 */
function newOnEdge(start, end, move, reach) {
  const { from, to, before, after } = move;
  const isInside = isOnEdge(from, start, end, reach);
  const bends = isInside || movedVertex(start, move, reach) !== start || movedVertex(end, move, reach) !== end;
  if (!bends) return [];
  const added = [before, after].filter((each) => isOnEdge(each, start, end, reach)).map((each) => [each, each]);
  if (isInside) added.push([from, to]);
  const ratio = (/** @type {Position[]} */ [was = []]) => ratioAlong(was, start, end);
  return added.sort((a, b) => ratio(a) - ratio(b)).map(([, is = []]) => is);
}

/** Whether a vertex is at a place rather than at another one beside it. @param {Position} vertex @param {Position} place @param {Position[]} others */
function isNearestTo(vertex, place, others) {
  return others.every((each) => squaredDistance(vertex, place) <= squaredDistance(vertex, each));
}

/** @param {Position} a @param {Position} b @param {number} reach */
function isNear(a, b, reach) {
  return squaredDistance(a, b) <= reach * reach;
}

/** Whether a point is on an edge, and at neither end. @param {Position} point @param {Position} start @param {Position} end @param {number} reach */
function isOnEdge(point, start, end, reach) {
  if (isNear(point, start, reach) || isNear(point, end, reach)) return false;
  const ratio = ratioAlong(point, start, end);
  return ratio > 0 && ratio < 1 && isNear(point, between(start, end, ratio), reach);
}
