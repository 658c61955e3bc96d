"""Synthetic lots with results, for the benchmarks of writing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from shapely import MultiPolygon

from detection.results import ChipInfo, Detection, LotResult
from parcels.boundary import Boundary, Located, Property
from parcels.measure import areas_m2

LON, LAT = -90.05, 35.15
LOT_DEG = 0.0003  # about 30 m
LOTS_A_ROW = 500
LOTS_A_CHIP = 6
# Front lawn, back lawn, a tree and a roof: position on the lot and size.
THINGS = (
    ("lawn", 0.5, 0.25, 0.2), ("lawn", 0.5, 0.78, 0.18), ("tree", 0.2, 0.5, 0.12),
    ("roof", 0.7, 0.5, 0.15),
)  # fmt: skip
LABELS = ("lawn", "tree", "roof")
CORNERS = 40


def properties(count: int) -> Iterator[Property]:
    """Yield the first `count` properties, each with a point."""
    for i in range(count):
        x, y = _corner(i)
        yield Property(f"lot-{i:07}", x + LOT_DEG / 2, y + LOT_DEG / 2)


def results(first: int, count: int) -> list[tuple[Boundary, LotResult]]:
    """Return the boundaries and results of `count` lots, starting at `first`."""
    lots = range(first, first + count)
    boundaries = [_rectangle(*_corner(i)) for i in lots]
    outlines = [_blob(i, part, *_corner(i)) for i in lots for part in range(len(THINGS))]
    lot_m2, thing_m2 = areas_m2(boundaries), areas_m2(outlines)
    return [
        (
            _boundary(i, boundaries[n], float(lot_m2[n])),
            LotResult(
                "detected",
                tuple(
                    _detection(part, outlines[n * len(THINGS) + part],
                               float(thing_m2[n * len(THINGS) + part]))
                    for part in range(len(THINGS))
                ),
                1.0,
                _chip(i // LOTS_A_CHIP),
            ),
        )
        for n, i in enumerate(lots)
    ]  # fmt: skip


def _corner(i: int) -> tuple[float, float]:
    return LON + (i % LOTS_A_ROW) * LOT_DEG, LAT + (i // LOTS_A_ROW) * LOT_DEG


def _rectangle(x: float, y: float) -> MultiPolygon:
    return MultiPolygon([shapely.box(x, y, x + LOT_DEG * 0.95, y + LOT_DEG * 0.95)])


def _blob(i: int, part: int, x: float, y: float) -> MultiPolygon:
    """Return a deterministic round shape with a ragged edge."""
    _, across, up, radius = THINGS[part]
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = radius * LOT_DEG * (1 + 0.1 * np.sin(7 * turn + i + part))
    ring = np.column_stack(
        [x + across * LOT_DEG + reach * np.cos(turn), y + up * LOT_DEG + reach * np.sin(turn)]
    )
    return MultiPolygon([shapely.Polygon(ring)])


def _boundary(i: int, geometry: MultiPolygon, lot_m2: float) -> Boundary:
    x, y = _corner(i)
    at = Located(x + LOT_DEG / 2, y + LOT_DEG / 2)
    return Boundary(geometry, "lot", lot_m2, "point", "synthetic", (f"{i:07}",), located=at)


def _detection(part: int, geometry: MultiPolygon, size_m2: float) -> Detection:
    label = THINGS[part][0]
    return Detection(label, f"a {label}", 0.9, "belongs", geometry, size_m2, size_m2, size_m2)


def _chip(number: int) -> ChipInfo:
    sha256 = f"{number:064x}"
    bands = ("red", "green", "blue")
    return ChipInfo(sha256, ("synthetic.tif",), "2023", "EPSG:32616", 0.3, bands, (0, 0, 1, 1))
