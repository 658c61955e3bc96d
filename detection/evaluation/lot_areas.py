"""Lawn areas of lots, as the detector or another tracer has them, against the traced truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import MultiPolygon

from detection.detector import Detector
from detection.errors import SegmenterError, TruthError
from detection.evaluation.bootstrap import bootstrap_weighted, weighted_quantile
from detection.evaluation.code_answers import CodeRival
from detection.evaluation.lot_outlines import LotOutline, read_lot_outlines
from detection.evaluation.segmenter_answers import SegmenterRival
from detection.evaluation.tile_images import TileImages, TilePlace
from detection.evaluation.traced import UNSURE, TracedTile, truth_of
from detection.imagery.pixel_grid import PixelGrid
from parcels.boundary import Boundary
from parcels.measure import areas_m2, polygonal

_LABEL = "lawn"
# A lot is compared if at least this share of it is in traced windows,
_MIN_TRACED = 0.98
# and at most this share of its pixels is unsure.
_MAX_UNSURE = 0.2
# Residential lots; a school's lawn would outweigh a street of houses.
_RESIDENTIAL_M2 = (150.0, 4_000.0)
# Of less lawn a relative error says nothing: these lots are listed with their error in m².
_MIN_LAWN_M2 = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class TracedLot:
    """A lot inside traced windows.

    Attributes:
        name: its parcel number, or its place in the file.
        pixels: (height, width) of the tile, those inside the lot.
        true_m2: lawn on its sure pixels.
        unsure_share: of its pixels.
    """

    name: str
    tile: TracedTile
    boundary: Boundary
    pixels: NDArray[np.bool_]
    true_m2: float
    unsure_share: float


@dataclass(frozen=True, slots=True)
class TracedLots:
    """The residential lots of a file that lie in traced windows."""

    lots: Sequence[TracedLot]
    images: TileImages

    @classmethod
    def read(cls, path: Path, tiles: Sequence[TracedTile], images: TileImages) -> TracedLots:
        """The lots of a file that lie in the windows of the tiles.

        Raises:
            TruthError: as `read_lot_outlines`, or none of the lots lies in a window.
        """
        outlines = read_lot_outlines(path, tiles, images)
        lots = [lot for tile in tiles for lot in _lots_on(tile, images, outlines)]
        if not lots:
            raise TruthError(
                f"no residential lot of {path} lies in a traced window: trace windows around whole "
                "lots, or evaluate without lots"
            )
        return cls(lots, images)


def lot_figures(lots: TracedLots, rival: SegmenterRival) -> dict[str, Any]:
    """The relative errors of lawn areas: median and p90 with intervals, and each lot.

    The area that the detector reports is compared on the sure pixels: of each of its polygons, the
    share of pixels that are sure counts.

    Raises:
        SegmenterError: a lot has no result.
    """
    return _figures([row for tile in {lot.tile.name: lot.tile for lot in lots.lots}.values()
                     for row in _tile_rows(tile, lots, rival)])  # fmt: skip


def traced_lot_figures(lots: TracedLots, rival: CodeRival) -> dict[str, Any]:
    """As `lot_figures`, of class codes: a second pass gives the tracer's own error.

    Truth and codes are compared on the pixels that both are sure of.

    Raises:
        TruthError: a tile of the lots has no codes.
    """
    rows = []
    for lot in lots.lots:
        pixel_m2 = lots.images.place_of(lot.tile).pixel_m2
        codes = rival.codes_of(lot.tile)
        both = lot.pixels & (codes != UNSURE) & (lot.tile.codes != UNSURE)
        lawn = truth_of(codes, _LABEL) & lot.pixels
        true = truth_of(lot.tile.codes, _LABEL) & both
        rows.append(
            _row(
                lot,
                float(true.sum()) * pixel_m2,
                float((lawn & both).sum()) * pixel_m2,
                float(lawn.sum()) * pixel_m2,
            )
        )
    return _figures(rows)


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    compared = [row for row in rows if row["compared"]]
    errors = np.array([abs(row["relative_error"]) for row in compared])
    tiles = [row["tile"] for row in compared]

    def quantile(share: float) -> dict[str, float | None] | None:
        if not compared:
            return None
        statistic = partial(_quantile_of, errors, share)
        found = bootstrap_weighted(tiles, statistic)
        return None if found is None else found.as_json()

    return {
        "lots": len(rows),
        "compared": len(compared),
        "unsure": sum(row["unsure_share"] > _MAX_UNSURE for row in rows),
        "median_error": quantile(0.5),
        "p90_error": quantile(0.9),
        "rows": rows,
    }


def _quantile_of(
    errors: NDArray[np.float64], share: float, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    return weighted_quantile(errors, weights, share)


def _lots_on(
    tile: TracedTile, images: TileImages, outlines: Sequence[LotOutline]
) -> list[TracedLot]:
    place = images.place_of(tile)
    grid = PixelGrid(place.crs, 1.0)
    outline = grid.to_lonlat(shapely.union_all([place.box(window) for window in tile.windows]))
    lots = []
    for each in outlines:
        if each.tile not in (None, tile.name) or not each.lonlat.intersects(outline):
            continue
        lonlat = polygonal(each.lonlat)
        pixels = _pixels_in(grid.from_lonlat(lonlat), place, tile)
        area_m2 = float(areas_m2(np.array([lonlat], object))[0])
        traced = lonlat.intersection(outline).area / lonlat.area
        low, high = _RESIDENTIAL_M2
        if low <= area_m2 <= high and traced >= _MIN_TRACED:
            unsure = float((tile.codes[pixels] == UNSURE).mean())
            true_m2 = float(truth_of(tile.codes, _LABEL)[pixels].sum()) * place.pixel_m2
            boundary = Boundary(lonlat, "lot", area_m2, "parcel_id", "traced lot")
            lots.append(TracedLot(each.name, tile, boundary, pixels, true_m2, unsure))
    return lots


def _tile_rows(tile: TracedTile, lots: TracedLots, rival: SegmenterRival) -> list[dict[str, Any]]:
    mine = [lot for lot in lots.lots if lot.tile is tile]
    detector = Detector(rival.segmenter)
    results = detector.detect(
        [lot.boundary for lot in mine], rival.source(tile), rival.chosen_labels
    )
    place = lots.images.place_of(tile)
    rows = []
    for lot, result in zip(mine, results, strict=True):
        if result.status != "detected":
            raise SegmenterError(f"lot {lot.name} of {tile.name}: {result.detail}")
        found = [each for each in result.detections if each.label == _LABEL]
        found_m2 = sum(
            each.clipped_area_m2 * _sure_share(each.geometry, lot, place) for each in found
        )
        rows.append(_row(lot, lot.true_m2, found_m2, result.areas_m2[_LABEL]))
    return rows


def _row(lot: TracedLot, true_m2: float, found_m2: float, reported_m2: float) -> dict[str, Any]:
    error_m2 = found_m2 - true_m2
    compared = lot.unsure_share <= _MAX_UNSURE and true_m2 >= _MIN_LAWN_M2
    return {
        "tile": lot.tile.name, "lot": lot.name, "true_m2": round(true_m2, 1),
        "found_m2": round(found_m2, 1), "reported_m2": round(reported_m2, 1),
        "error_m2": round(error_m2, 1), "unsure_share": round(lot.unsure_share, 3),
        "compared": compared,
        "relative_error": round(error_m2 / true_m2, 4) if compared else None,
    }  # fmt: skip


def _sure_share(geometry: MultiPolygon, lot: TracedLot, place: TilePlace) -> float:
    """The share of a detection's pixels that are sure; 0 of one that is thinner than a pixel."""
    inside = _pixels_in(PixelGrid(place.crs, 1.0).from_lonlat(geometry), place, lot.tile)
    codes = lot.tile.codes[inside & lot.pixels]
    return float((codes != UNSURE).mean()) if codes.size else 0.0


def _pixels_in(geometry: Any, place: TilePlace, tile: TracedTile) -> NDArray[np.bool_]:  # noqa: ANN401
    inside: NDArray[np.bool_] = geometry_mask(
        [geometry], tile.codes.shape, place.transform, invert=True
    )
    return inside
