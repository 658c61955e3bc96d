"""Divides reviewed lots by blocks of ground into training, validation and test.

Neighbours look alike, so lots are never divided one by one. A block's split follows from its
position alone, so that lots that are reviewed later do not move others, with two exceptions, both
towards the test: a block with a lot of the audit queue is test as a whole, and blocks whose lots
share ground have the same split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import shapely
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from parcels.measure import area_m2, polygonal

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

# Metres of a degree of latitude at 45 degrees; blocks need not be square to a metre.
_DEGREE_M = 111_132.0
# Less is the inaccuracy of lot lines: neighbours overlap by slivers.
_SHARED_M2 = 1.0


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How ground is divided.

    Attributes:
        block_m: the side of a block in metres.
        validation, test: their fractions of the blocks.
        seed: another one gives another division.
    """

    block_m: float = 250.0
    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.block_m) and self.block_m > 0):
            raise ValueError(f"a block has a side above 0 m, not {self.block_m:g} m")
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise ValueError("the fractions of validation and test are 0 or more, together below 1")


@dataclass(frozen=True, slots=True)
class Place:
    """A reviewed lot: its boundary (EPSG:4326), its parcel ids, and whether it is audited."""

    boundary: BaseGeometry
    parcel_ids: tuple[str, ...]
    is_audited: bool


def block_of(boundary: BaseGeometry, block_m: float) -> str:
    """The block in which the centroid of a boundary (EPSG:4326) is, as "row/column"."""
    x, y = shapely.get_coordinates(shapely.centroid(boundary))[0]
    row = math.floor(y * _DEGREE_M / block_m)
    # Of the row, not of the lot, so that all lots of a row have the same columns.
    latitude = math.radians((row + 0.5) * block_m / _DEGREE_M)
    column = math.floor(x * _DEGREE_M * math.cos(latitude) / block_m)
    return f"{row}/{column}"


def split_places(places: Sequence[Place], rule: SplitRule) -> list[tuple[str, Split]]:
    """The block and the split of each place."""
    blocks = [block_of(place.boundary, rule.block_m) for place in places]
    group_of = _joined(blocks, _sharing_ground(places))
    splits: dict[str, set[Split]] = {}
    for place, block in zip(places, blocks, strict=True):
        own: Split = "test" if place.is_audited else _drawn(block, rule)
        splits.setdefault(group_of[block], set()).add(own)
    return [(block, _strictest(splits[group_of[block]])) for block in blocks]


def shared_lots(places: Sequence[Place], splits: Sequence[Split]) -> list[tuple[int, int]]:
    """Pairs of places (by index) that share ground or a parcel id, and have different splits."""
    return [(i, j) for i, j in _sharing_ground(places) if splits[i] != splits[j]]


def _drawn(block: str, rule: SplitRule) -> Split:
    digest = hashlib.sha256(f"{rule.seed}:{rule.block_m:g}:{block}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") / 2**64
    if drawn < rule.test:
        return "test"
    return "validation" if drawn < rule.test + rule.validation else "train"


def _strictest(splits: set[Split]) -> Split:
    return max(splits, key=SPLITS.index)


def _sharing_ground(places: Sequence[Place]) -> list[tuple[int, int]]:
    """Pairs (i < j) of places whose boundaries overlap, or that have a parcel id in common."""
    boundaries = np.array([place.boundary for place in places], dtype=object)
    found: set[tuple[int, int]] = set()
    if len(places):
        left, right = STRtree(boundaries).query(boundaries, predicate="intersects")
        for i, j in zip(left.tolist(), right.tolist(), strict=True):
            if i < j and _shares(places[i].boundary, places[j].boundary):
                found.add((i, j))
    first_with: dict[str, int] = {}
    for index, place in enumerate(places):
        for parcel_id in place.parcel_ids:
            first = first_with.setdefault(parcel_id, index)
            if first != index:
                found.add((first, index))
    return sorted(found)


def _shares(one: BaseGeometry, other: BaseGeometry) -> bool:
    shared = shapely.intersection(one, other)
    # Lots that touch share a line.
    return shared.area > 0 and area_m2(polygonal(shared)) > _SHARED_M2


def _joined(blocks: Sequence[str], pairs: Sequence[tuple[int, int]]) -> Mapping[str, str]:
    """The group of each block: blocks of a pair are in the same one."""
    parent = {block: block for block in blocks}

    def root(block: str) -> str:
        while parent[block] != block:
            parent[block] = parent[parent[block]]
            block = parent[block]
        return block

    for i, j in pairs:
        parent[root(blocks[i])] = root(blocks[j])
    return {block: root(block) for block in parent}
