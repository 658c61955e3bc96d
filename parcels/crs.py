"""Between any CRS and EPSG:4326, always as x, y = longitude, latitude.

The datum step is chosen on purpose. County parcels and NAIP imagery are both NAD83, in one of its
realisations, and must lie on one another. So NAD83 coordinates are taken as WGS 84 ones
as they are: a null step, as in EPSG:1188 (NAD83 to WGS 84 (1), stated accuracy 4 m). Against GPS
that costs the 1 to 2 m that the two have drifted apart; PROJ would take a null step for some
realisations and a shift of 1.2 m for others (EPSG:1901 for HARN), and tear lot from picture.

Other datums get the most accurate of PROJ's operations that hold at each geometry's place. A
"ballpark" operation, which ignores the datum, is never taken: it leaves NAD27 lots tens of metres
away from where they are.
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

from parcels.errors import GeometryError

WGS84 = CRS.from_epsg(4326)
_FORWARD, _INVERSE = TransformDirection.FORWARD, TransformDirection.INVERSE

# Names in EPSG's and Esri's writing; Esri's "NAD_1983_HARN_Adj_MN_Anoka" and its kin (county
# systems on a raised ellipsoid) keep the latitudes and longitudes of NAD83 too, and the sphere of
# the first Web Mercators those of WGS 84.
_AS_WGS84 = re.compile(
    r"^(D_)?("
    r"NAD[ _]?(19)?83|California_SRS_.*\(NAD83\)|North[ _]American[ _](Datum[ _](of[ _])?)?1983|"
    r"WGS[ _]?(19)?84|World[ _]Geodetic[ _]System[ _](of[ _])?1984|"
    r"Popular[ _]Visualisation"
    r")(?!\d)",
    re.IGNORECASE,
)
# Lots that may lie further off than this measure the neighbour's yard.
_WORST_ACCURACY_M = 10.0
_GOOD_ACCURACY_M = 5.0


class CoarseDatumWarning(UserWarning):
    """Lots may lie metres off, for want of PROJ's grids."""


def to_wgs84(geometries: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """The geometries (n,) in EPSG:4326; heights are dropped, missing ones stay None.

    Coordinates that have no place in the CRS, or that no operation reaches, become infinite.

    Raises:
        GeometryError: PROJ knows no operation from the CRS that is accurate enough.
    """
    return _converted(geometries, crs, _FORWARD)


def from_wgs84(geometries: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """EPSG:4326 geometries (n,) in another CRS: the way back of `to_wgs84`, to the last digits.

    Raises:
        GeometryError: as `to_wgs84`.
    """
    return _converted(geometries, crs, _INVERSE)


def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a compound or 3D CRS; any other as it is."""
    if crs.is_compound:
        return crs.sub_crs_list[0].to_2d()
    return crs.to_2d()


def _converted(
    geometries: NDArray[np.object_], crs: CRS, direction: TransformDirection
) -> NDArray[np.object_]:
    flat = np.array(geometries, dtype=object)
    high = shapely.get_coordinate_dimension(flat) > 2
    flat[high] = shapely.force_2d(flat[high])
    if crs.equals(WGS84, ignore_axis_order=True):
        return flat
    wkt = crs.to_wkt()
    as_wgs84 = _own_degrees(wkt)
    if _is_wgs84_or_nad83(crs):
        return _transformed(flat, as_wgs84, direction)
    operations = _operations(wkt)
    # Its own degrees are within 300 m of the place: near enough to choose by.
    degrees = _transformed(flat, as_wgs84, direction) if direction is _FORWARD else flat
    chosen = _choose(operations, shapely.bounds(degrees))
    converted = np.full(len(flat), None, dtype=object)
    for number in np.unique(chosen):
        here = chosen == number
        operation = operations[number].transformer if number >= 0 else None
        converted[here] = _transformed(flat[here], operation, direction)
    return converted


def _transformed(
    geometries: NDArray[np.object_], operation: Transformer | None, direction: TransformDirection
) -> NDArray[np.object_]:
    """The geometries after an operation; without one all coordinates are infinite."""
    if operation is None:
        return np.asarray(shapely.transform(geometries, lambda xy: xy + np.inf), dtype=object)
    project = partial(operation.transform, direction=direction)
    return np.asarray(shapely.transform(geometries, project, interleaved=False), dtype=object)


def _is_wgs84_or_nad83(crs: CRS) -> bool:
    """Whether the CRS's degrees are taken as WGS 84 ones; see the module."""
    plain = crs.source_crs if crs.is_bound else crs
    return bool(plain and plain.datum and _AS_WGS84.match(plain.datum.name))


@lru_cache(maxsize=64)
def _own_degrees(wkt: str) -> Transformer:
    """From the CRS to the longitudes and latitudes of its own datum."""
    crs = CRS.from_wkt(wkt)
    plain = crs.source_crs if crs.is_bound else crs
    if plain is None or plain.geodetic_crs is None:
        raise GeometryError(f"{crs.name} is no CRS on Earth; give that of a map, as EPSG:2274")
    return Transformer.from_crs(plain, plain.geodetic_crs, always_xy=True)


@dataclass(frozen=True, slots=True)
class _Operation:
    """A way to EPSG:4326, `accuracy_m` good (negative: not known) inside (w, s, e, n)."""

    transformer: Transformer
    accuracy_m: float
    area: tuple[float, float, float, float]
    crs_name: str


@lru_cache(maxsize=64)
def _operations(wkt: str) -> list[_Operation]:
    """What PROJ can do with the grids that are here, the most accurate first.

    Raises:
        GeometryError: nothing that is accurate enough.
    """
    crs = CRS.from_wkt(wkt)
    with warnings.catch_warnings():
        # Of grids that are not here: what that means is said below, and in `_choose`.
        warnings.simplefilter("ignore", UserWarning)
        group = TransformerGroup(crs, WGS84, always_xy=True, allow_ballpark=False)
    usable = [
        _Operation(way, way.accuracy, way.area_of_use.bounds, crs.name)
        for way in group.transformers
        if way.accuracy <= _WORST_ACCURACY_M and way.area_of_use is not None
    ]
    if usable:
        # A sort keeps PROJ's order among equals. A CRS that brings its own shift says no accuracy.
        return sorted(usable, key=lambda way: way.accuracy_m if way.accuracy_m >= 0 else np.inf)
    grids = sorted({grid.short_name for way in group.unavailable_operations for grid in way.grids})
    if grids:
        mend = f"install one of PROJ's grids, for example: pyproj sync --file {grids[0]}"
    else:
        mend = "give the CRS by its EPSG code, or ask the county for its datum"
    raise GeometryError(
        f"no operation from {crs.name} to WGS 84 is known to {_WORST_ACCURACY_M:.0f} m; {mend}"
    )


def _choose(operations: list[_Operation], bounds: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each of the bounds (n, 4) in degrees the first operation that holds at its centre.

    -1 where none does. Each geometry is looked at alone, so that a lot lies in the same place
    whatever else came with it.
    """
    lon, lat = (bounds[:, :2] + bounds[:, 2:]).T / 2
    chosen = np.full(len(bounds), -1)
    for number, way in enumerate(operations):
        west, south, east, north = way.area
        # An area over the antimeridian has its west in the east.
        across = (lon >= west) | (lon <= east) if west > east else (lon >= west) & (lon <= east)
        holds = (chosen < 0) & across & (south <= lat) & (lat <= north)
        chosen[holds] = number
        if way.accuracy_m > _GOOD_ACCURACY_M and holds.any():
            warnings.warn(
                f"{way.crs_name}: lots may lie {way.accuracy_m:.0f} m off; PROJ's grids would "
                "help: pyproj sync --source-id us_noaa",
                CoarseDatumWarning,
                stacklevel=2,
            )
    return chosen
