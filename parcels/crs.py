"""Transform between any CRS and EPSG:4326, always as x, y = longitude, latitude.

The datum transformation is explicit. County parcels and NAIP imagery are both NAD83, in one of
its realisations, and must align. So NAD83 coordinates are used as WGS 84 unchanged: a null
transformation, as EPSG:1188 (NAD83 to WGS 84 (1), stated accuracy 4 m). Compared to GPS that costs
the 1 to 2 m between the two datums; PROJ's choice would be null for some realisations and a shift
of 1.2 m for others (EPSG:1901 for HARN), and misalign lots and imagery.

Other datums get PROJ's most accurate operation that is valid at each geometry's place. "Ballpark"
operations, which ignore the datum, are never used: they put NAD27 lots tens of metres off.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.transformer import TransformerGroup

from parcels.antimeridian import spans_antimeridian, split_at_antimeridian
from parcels.errors import GeometryError

WGS84 = CRS.from_epsg(4326)
_FORWARD, _INVERSE = TransformDirection.FORWARD, TransformDirection.INVERSE

# EPSG and Esri datum names. Esri's "NAD_1983_HARN_Adj_MN_Anoka" and the like (county systems on a
# raised ellipsoid) have NAD83 latitudes and longitudes, and the sphere of early Web Mercators has
# those of WGS 84.
_AS_WGS84 = re.compile(
    r"^(D_)?("
    r"NAD[ _]?(19)?83|California_SRS_.*\(NAD83\)|North[ _]American[ _](Datum[ _](of[ _])?)?1983|"
    r"WGS[ _]?(19)?84|World[ _]Geodetic[ _]System[ _](of[ _])?1984|"
    r"Popular[ _]Visualisation"
    r")(?!\d)",
    re.IGNORECASE,
)
# A larger error would measure the neighbour's yard.
_MAX_ERROR_M = 10.0
_WARN_ERROR_M = 5.0
# Wider geometries, in metres or feet, go around the world and not over the antimeridian.
_WORLD_WIDTH = 1e7


class CoarseDatumWarning(UserWarning):
    """Lots may be metres off, because PROJ grids are not installed."""


def to_wgs84(geometries: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """The geometries (n,) in EPSG:4326; z is dropped, None stays None.

    Coordinates outside of the CRS or of all its operations become infinite. A polygon of a
    projected CRS that crosses the antimeridian is split there.

    Raises:
        GeometryError: PROJ has no accurate enough operation from the CRS.
    """
    converted = _convert(geometries, crs, _FORWARD)
    if crs.is_projected:
        _split_across_180(np.asarray(geometries, dtype=object), converted)
    return converted


def from_wgs84(geometries: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """EPSG:4326 geometries (n,) in another CRS; the inverse of `to_wgs84`, up to rounding.

    Raises:
        GeometryError: as `to_wgs84`.
    """
    return _convert(geometries, crs, _INVERSE)


def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a compound or 3D CRS; any other CRS unchanged."""
    if crs.is_compound:
        return crs.sub_crs_list[0].to_2d()
    return crs.to_2d()


def _convert(
    geometries: NDArray[np.object_], crs: CRS, direction: TransformDirection
) -> NDArray[np.object_]:
    flat = np.array(geometries, dtype=object)
    has_z = shapely.get_coordinate_dimension(flat) > 2
    flat[has_z] = shapely.force_2d(flat[has_z])
    if crs.equals(WGS84, ignore_axis_order=True):
        return flat
    wkt = crs.to_wkt()
    to_own_degrees = _to_own_geographic(wkt)
    if _is_wgs84_or_nad83(crs):
        return _apply(flat, to_own_degrees, direction)
    operations = _operations(wkt)
    # Degrees of its own datum are within 300 m of the place: enough to choose an operation.
    degrees = _apply(flat, to_own_degrees, direction) if direction is _FORWARD else flat
    chosen = _choose_operations(operations, shapely.bounds(degrees))
    converted = np.full(len(flat), None, dtype=object)
    for number in np.unique(chosen):
        here = chosen == number
        operation = operations[number].transformer if number >= 0 else None
        converted[here] = _apply(flat[here], operation, direction)
    return converted


def _split_across_180(own: NDArray[np.object_], degrees: NDArray[np.object_]) -> None:
    """Split those that cross the antimeridian; an extent of the world does not."""
    across = spans_antimeridian(shapely.bounds(degrees))
    for index in np.flatnonzero(across):
        west, _, east, _ = own[index].bounds
        if east - west < _WORLD_WIDTH:
            degrees[index] = split_at_antimeridian(degrees[index])


def _apply(
    geometries: NDArray[np.object_], operation: Transformer | None, direction: TransformDirection
) -> NDArray[np.object_]:
    """Apply an operation to the geometries; without one all coordinates become infinite."""
    if operation is None:
        return np.asarray(shapely.transform(geometries, lambda xy: xy + np.inf), dtype=object)
    project = partial(operation.transform, direction=direction)
    return np.asarray(shapely.transform(geometries, project, interleaved=False), dtype=object)


def _is_wgs84_or_nad83(crs: CRS) -> bool:
    """Whether the CRS's degrees count as WGS 84; see the module docstring."""
    base = crs.source_crs if crs.is_bound else crs
    return bool(base and base.datum and _AS_WGS84.match(base.datum.name))


@lru_cache(maxsize=64)
def _to_own_geographic(wkt: str) -> Transformer:
    """From the CRS to longitude and latitude of its own datum."""
    crs = CRS.from_wkt(wkt)
    base = crs.source_crs if crs.is_bound else crs
    if base is None or base.geodetic_crs is None:
        raise GeometryError(f"{crs.name} is not a CRS on Earth; use a map CRS such as EPSG:2274")
    return Transformer.from_crs(base, base.geodetic_crs, always_xy=True)


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation to EPSG:4326, valid inside `area`: (west, south, east, north) in degrees.

    `accuracy_m` is its error; negative if unknown.
    """

    transformer: Transformer
    accuracy_m: float
    area: tuple[float, float, float, float]
    crs_name: str


@lru_cache(maxsize=64)
def _operations(wkt: str) -> list[_Operation]:
    """PROJ's operations to EPSG:4326 with the installed grids, the most accurate first.

    Raises:
        GeometryError: none is accurate enough.
    """
    crs = CRS.from_wkt(wkt)
    with warnings.catch_warnings():
        # About missing grids: reported below, and by `_choose_operations`.
        warnings.simplefilter("ignore", UserWarning)
        group = TransformerGroup(crs, WGS84, always_xy=True, allow_ballpark=False)
    usable = [
        _Operation(op, op.accuracy, op.area_of_use.bounds, crs.name)
        for op in group.transformers
        if op.accuracy <= _MAX_ERROR_M and op.area_of_use is not None
    ]
    if usable:
        # The sort is stable: PROJ's order among equals. A CRS with its own shift has no accuracy.
        return sorted(usable, key=lambda op: op.accuracy_m if op.accuracy_m >= 0 else np.inf)
    grids = sorted({grid.short_name for op in group.unavailable_operations for grid in op.grids})
    if grids:
        fix = f"install a PROJ grid, for example: pyproj sync --file {grids[0]}"
    else:
        fix = "set the CRS by its EPSG code, or request the datum from the county"
    raise GeometryError(
        f"{crs.name}: PROJ has no operation to WGS 84 within {_MAX_ERROR_M:.0f} m; {fix}"
    )


def _choose_operations(
    operations: list[_Operation], bounds: NDArray[np.float64]
) -> NDArray[np.intp]:
    """The index (n,) of the first operation that is valid at the centre of each bounds (n, 4).

    -1 if there is none. Chosen for each geometry alone, so that a lot's coordinates do not depend
    on the others in the call.
    """
    lon, lat = (bounds[:, :2] + bounds[:, 2:]).T / 2
    lon = np.where(spans_antimeridian(bounds), 180.0, lon)
    chosen = np.full(len(bounds), -1)
    for number, op in enumerate(operations):
        west, south, east, north = op.area
        # An area that crosses the antimeridian has west > east.
        in_lon = (lon >= west) | (lon <= east) if west > east else (lon >= west) & (lon <= east)
        is_valid = (chosen < 0) & in_lon & (south <= lat) & (lat <= north)
        chosen[is_valid] = number
        if op.accuracy_m > _WARN_ERROR_M and is_valid.any():
            warnings.warn(
                f"{op.crs_name}: lots may be {op.accuracy_m:.0f} m off; install PROJ's grids: "
                "pyproj sync --source-id us_noaa",
                CoarseDatumWarning,
                stacklevel=2,
            )
    return chosen
