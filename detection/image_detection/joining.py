"""Clips the outlines of blocks, and joins the parts of an object that lies on several.

Adjacent blocks are stitched from the same chips along their common line, so the parts of an object
meet on it. Both blocks compute the line from the same numbers: their edges coincide exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely import GeometryType, STRtree

# Parts of two discrete objects are one if they share this fraction of the shorter cut.
_SAME_CUT = 0.5

_Geometries = NDArray[np.object_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BlockParts:
    """Polygons inside a block, each part of one object.

    Attributes:
        polygons: (n,) in the grid's CRS.
        scores: (n,) in 0..1.
        labels: (n,) the index of each one's label.
        cuts: (n,) where the polygon ends at an edge of the block; empty lines where it does not.
    """

    polygons: _Geometries
    scores: _Floats
    labels: NDArray[np.intp]
    cuts: _Geometries

    def __len__(self) -> int:
        return len(self.polygons)


def clip_to_block(
    polygons: _Geometries,
    scores: _Floats,
    labels: NDArray[np.intp],
    bounds: tuple[float, float, float, float],
) -> BlockParts:
    """The parts of polygons (n,) inside a block with these bounds (left, bottom, right, top)."""
    block = shapely.box(*bounds)
    shapely.prepare(block)
    crossing = ~shapely.contains_properly(block, polygons)
    clipped = polygons.copy()
    clipped[crossing] = shapely.intersection(polygons[crossing], block)
    pieces, of = shapely.get_parts(clipped, return_index=True)
    # Of a collection, only its polygons: an outline may touch the block in a point or a line.
    areal = (shapely.get_type_id(pieces) == GeometryType.POLYGON) & (shapely.area(pieces) > 0)
    pieces, of = pieces[areal], of[areal]
    cuts = np.full(len(pieces), shapely.LineString(), object)
    cut = crossing[of]
    cuts[cut] = shapely.intersection(shapely.boundary(pieces[cut]), block.exterior)
    return BlockParts(pieces, scores[of], labels[of], cuts)


def join_parts(blocks: list[BlockParts], is_discrete: NDArray[np.bool_]) -> BlockParts:
    """One polygon for each object; scores are means over the area of its parts.

    Args:
        is_discrete: of each label. Parts of continuous labels that meet are always one; two
            discrete objects may touch, and are one only where their cuts coincide.
    """
    every = BlockParts(
        np.concatenate([np.empty(0, object), *(b.polygons for b in blocks)]),
        np.concatenate([np.empty(0), *(b.scores for b in blocks)]),
        np.concatenate([np.empty(0, np.intp), *(b.labels for b in blocks)]),
        np.concatenate([np.empty(0, object), *(b.cuts for b in blocks)]),
    )
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    pairs = _same_object(every, block_of, is_discrete)
    if not pairs.size:
        return every
    count = len(every)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    groups, group_of = connected_components(links, directed=False)
    order = np.argsort(group_of, kind="stable")
    areas = shapely.area(every.polygons)
    total = np.bincount(group_of, areas, groups)
    scores = np.bincount(group_of, areas * every.scores, groups) / total
    polygons = np.empty(groups, object)
    for group, members in enumerate(np.split(order, np.cumsum(np.bincount(group_of))[:-1])):
        parts = every.polygons[members]
        polygons[group] = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    labels = every.labels[order[np.searchsorted(group_of[order], np.arange(groups))]]
    # Parts that meet in a point only stay apart: valid polygons again.
    joined = shapely.get_type_id(polygons) != GeometryType.POLYGON
    pieces, of = shapely.get_parts(polygons[joined], return_index=True)
    pieces = np.concatenate([polygons[~joined], pieces])
    of = np.concatenate([np.flatnonzero(~joined), np.flatnonzero(joined)[of]])
    nothing = np.full(len(pieces), shapely.LineString(), object)
    return BlockParts(pieces, scores[of], labels[of], nothing)


def _same_object(
    parts: BlockParts, block_of: NDArray[np.intp], is_discrete: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """(k, 2) pairs of parts, of different blocks, that are one object."""
    at_edge = np.flatnonzero(shapely.length(parts.cuts) > 0)
    cuts = parts.cuts[at_edge]
    one, other = (at_edge[i] for i in STRtree(cuts).query(cuts, predicate="intersects"))
    chosen = (
        (one < other)
        & (block_of[one] != block_of[other])
        & (parts.labels[one] == parts.labels[other])
    )
    one, other = one[chosen], other[chosen]
    common = shapely.length(shapely.intersection(parts.cuts[one], parts.cuts[other]))
    shorter = np.minimum(shapely.length(parts.cuts[one]), shapely.length(parts.cuts[other]))
    needed = np.where(is_discrete[parts.labels[one]], _SAME_CUT * shorter, 0.0)
    pairs: NDArray[np.intp] = np.stack([one, other], axis=1)[(common > 0) & (common >= needed)]
    return pairs
