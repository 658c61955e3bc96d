"""The exact truth of the synthetic neighbourhood, and the errors of measured lawns.

Truth is what is visible from above: a crown over a lawn or a roof is tree. Shadows hide nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas
import shapely
from pyproj import Transformer
from shapely import STRtree
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from detection.sample.layout import CRS
from detection.sample.scene import SyntheticScene
from detection.sample.things import Yard
from parcels.measure import areas_m2, polygonal

LABELS = ("lawn", "tree", "vegetation", "roof", "driveway", "pool")
_MAX_WORST = 5
# Smaller pieces are slivers of an overlay (a thousandth of a pixel).
_MIN_AREA_M2 = 1e-4


def lot_truth(scene: SyntheticScene) -> geopandas.GeoDataFrame:
    """The visible area of each label on each lot: a row per parcel and label, EPSG:4326.

    Columns: parcel_id, label, area_m2, coverage_fraction (0..1), geometry (MultiPolygon,
    inside the lot and inside the imagery).
    """
    image = shapely.box(*scene.bounds)
    crowns = [tree.polygon for tree in scene.crowns]
    tree_index = STRtree(crowns)
    rows = []
    for yard in scene.yards:
        lot = yard.plan.polygon.intersection(image)
        canopy = unary_union([crowns[i] for i in tree_index.query(lot)])
        coverage_fraction = lot.area / yard.plan.polygon.area
        for label, shape in _visible(yard, canopy).items():
            geometry = _polygons(shape.intersection(lot))
            if geometry is not None:
                rows.append((yard.plan.parcel_id, label, coverage_fraction, geometry))
    parcel_ids, labels, shares, geometries = zip(*rows, strict=True)
    return geopandas.GeoDataFrame(
        {
            "parcel_id": parcel_ids,
            "label": labels,
            "area_m2": areas_m2(geometries),
            "coverage_fraction": shares,
        },
        geometry=list(geometries),
        crs="EPSG:4326",
    )


def to_degrees(geometry: BaseGeometry) -> BaseGeometry:
    """From EPSG:26916 to EPSG:4326, x = longitude."""
    to_4326 = Transformer.from_crs(CRS, 4326, always_xy=True)
    return shapely.transform(geometry, to_4326.transform, interleaved=False)


def _visible(yard: Yard, canopy: BaseGeometry) -> dict[str, BaseGeometry]:
    buildings = unary_union([yard.roof, yard.shed])
    shrubs = unary_union([shrub.polygon for shrub in yard.shrubs]).difference(buildings)
    leaves = unary_union([canopy, shrubs])
    lawn = yard.turf.difference(leaves)
    return {
        "lawn": lawn,
        "tree": canopy,
        "vegetation": unary_union([lawn, leaves]),
        "roof": yard.roof.difference(canopy),
        "driveway": yard.drive.difference(unary_union([buildings, leaves])),
        "pool": yard.pool.difference(unary_union([buildings, leaves])),
    }


def _polygons(shape: BaseGeometry) -> BaseGeometry | None:
    """The shape in EPSG:4326, valid; None where only slivers are left."""
    # Snapped to the millimetre, so that reprojection does not make edges cross.
    snapped = shapely.set_precision(shape, 0.001)
    if snapped.area < _MIN_AREA_M2:
        return None
    return polygonal(to_degrees(snapped))


def true_areas_m2(truth: Path, label: str) -> dict[str, float]:
    """The true area of a label on each lot that has it, by parcel id, from `truth.gpkg`."""
    frame = geopandas.read_file(truth, ignore_geometry=True, where=f"label = '{label}'")
    return dict(zip(frame["parcel_id"], frame["area_m2"].astype(float), strict=True))


@dataclass(frozen=True, slots=True)
class LotError:
    """The measured and true lawn area of a lot."""

    parcel_id: str
    true_m2: float
    measured_m2: float

    @property
    def error_m2(self) -> float:
        """Measured minus true."""
        return self.measured_m2 - self.true_m2

    @property
    def error_percent(self) -> float:
        """Of the true area, which must not be 0."""
        return 100 * self.error_m2 / self.true_m2


@dataclass(frozen=True, slots=True)
class LawnErrors:
    """The errors of measured lawns.

    Attributes:
        lots: number of compared lots.
        total_percent: error of the total area; over- and underestimates cancel.
        median_absolute_percent: per lot.
        worst: the lots with the largest errors in m², largest first.
    """

    lots: int
    true_m2: float
    measured_m2: float
    total_percent: float
    median_absolute_percent: float
    worst: tuple[LotError, ...]


def lawn_errors(truth: Mapping[str, float], measured: Mapping[str, float]) -> LawnErrors | None:
    """Compare measured lots with the truth, lawns in m² by parcel id.

    A lot without a true lawn counts in the totals, but has no percentage. None if no measured lot
    has a true lawn.
    """
    errors = [
        LotError(parcel_id, truth.get(parcel_id, 0.0), area_m2)
        for parcel_id, area_m2 in measured.items()
    ]
    with_lawn = [error for error in errors if error.true_m2 > 0]
    if not with_lawn:
        return None
    true_m2 = sum(error.true_m2 for error in errors)
    measured_m2 = sum(error.measured_m2 for error in errors)
    worst = sorted(errors, key=lambda error: -abs(error.error_m2))[:_MAX_WORST]
    return LawnErrors(
        lots=len(errors),
        true_m2=true_m2,
        measured_m2=measured_m2,
        total_percent=100 * (measured_m2 - true_m2) / true_m2,
        median_absolute_percent=statistics.median(abs(e.error_percent) for e in with_lawn),
        worst=tuple(worst),
    )
