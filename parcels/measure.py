"""Areas in m², buffers in m, IoU and repair: the only module that computes areas.

Geometries are EPSG:4326 with x, y = longitude, latitude in degrees.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from parcels.antimeridian import centre_lonlat, split_at_antimeridian
from parcels.errors import GeometryError

_GEOD = Geod(ellps="WGS84")
_EARTH_RADIUS_M = 6_371_008.8
_COLLECTION_TYPES = (4, 5, 6, 7)  # shapely's type ids of the Multi* types and the collection
_POLYGON_TYPE = 3
# Above this share of the area, edges are measured as geodesics (see areas_m2).
_CHORD_TOLERANCE = 2e-5
# Smaller slivers are rounding where two outlines coincide.
_MIN_SLIVER_M2 = 0.001
# A polygon of 4 x 32 sides is 0.04 % smaller than its circle.
_QUAD_SEGMENTS = 32


@lru_cache(maxsize=1)
def _to_equal_area() -> Transformer:
    return Transformer.from_crs(4326, 6933, always_xy=True)


def area_m2(geometry: BaseGeometry) -> float:
    """The area of an EPSG:4326 geometry in m², within 0.01 % of `pyproj.Geod`.

    0 for lines and points. See `areas_m2`.

    Raises:
        GeometryError: coordinates are not degrees on Earth.
    """
    return float(areas_m2([geometry])[0])


def areas_m2(geometries: Iterable[BaseGeometry]) -> NDArray[np.float64]:
    """The areas (n,) of n valid EPSG:4326 geometries in m², within 0.01 % of `pyproj.Geod`.

    Computed in EPSG:6933, which is equal-area on the WGS84 ellipsoid. One error remains: an edge
    is a geodesic on the ground and a straight line in the projection. To leading order an edge of
    length L at latitude f loses at most sqrt(2) tan(f) L³ / (12 R) of area (from the geodesic's
    curvature in a cylindrical equal-area projection). A polygon whose edges could lose more than a
    fifth of the tolerance is measured by Geod, which is ten times slower.

    Raises:
        GeometryError: coordinates are not degrees on Earth, or a geometry is missing.
    """
    array = np.asarray(list(geometries), dtype=object)
    areas = np.zeros(len(array))
    if not len(array):
        return areas
    if shapely.is_missing(array).any():
        index = int(np.flatnonzero(shapely.is_missing(array))[0])
        raise GeometryError(f"geometry {index} is missing; remove it before measuring")
    _check_degrees(shapely.get_coordinates(array))
    polygons, owner = _polygons(array)
    if not len(polygons):
        return areas
    project = _to_equal_area().transform
    projected = shapely.transform(polygons, project, interleaved=False)
    parts_m2 = shapely.area(projected)
    for i in np.flatnonzero(_chord_errors_m2(polygons) > _CHORD_TOLERANCE * parts_m2):
        parts_m2[i] = _geodesic_area_m2(polygons[i])
    np.add.at(areas, owner, parts_m2)
    return areas


def scaled_areas_m2(
    projected: NDArray[np.float64],
    measured_projected: NDArray[np.float64],
    measured_m2: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Areas (n,) in m² of geometries close to others that `areas_m2` has measured.

    The area scale of a projected CRS hardly changes locally: by one part in a million over 100 m
    in UTM. So the ground-to-map ratio of a measured neighbour applies, without another
    transformation. Up to 1 km away the result is within 0.01 % of `pyproj.Geod`.

    Args:
        projected: areas (n,) in the CRS, in its units squared.
        measured_projected: areas (n,) of the measured neighbours in the same CRS; above 0.
        measured_m2: areas (n,) of the measured neighbours in m², from `areas_m2`.
    """
    return projected * (measured_m2 / measured_projected)


def _check_degrees(lon_lat: NDArray[np.float64]) -> None:
    # Also catches NaN and infinity, which compare as False.
    on_earth = (np.abs(lon_lat[:, 0]) <= 180) & (np.abs(lon_lat[:, 1]) <= 90)
    if on_earth.all():
        return
    lon, lat = lon_lat[int(np.flatnonzero(~on_earth)[0])]
    raise GeometryError(
        f"longitude {lon}, latitude {lat} is not on Earth; use EPSG:4326 degrees as x, y = "
        "longitude, latitude"
    )


def on_earth(geometries: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether each geometry (n,) is within the bounds of EPSG:4326.

    False for missing, empty and infinite ones. NaN coordinates are not detected here: they make
    the geometry invalid.
    """
    with np.errstate(invalid="ignore"):
        west, south, east, north = shapely.bounds(geometries).T
        inside = (west >= -180) & (south >= -90) & (east <= 180) & (north <= 90)
    return np.asarray(inside, dtype=bool)


def _polygons(geometries: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """The single, non-empty polygons in the geometries, and the index of each one's geometry."""
    parts, owner = geometries, np.arange(len(geometries))
    while np.isin(shapely.get_type_id(parts), _COLLECTION_TYPES).any():
        parts, index = shapely.get_parts(parts, return_index=True)
        owner = owner[index]
    keep = (shapely.get_type_id(parts) == _POLYGON_TYPE) & ~shapely.is_empty(parts)
    return parts[keep], owner[keep]


def _chord_errors_m2(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    """For each polygon an upper bound of the area that straight edges lose in EPSG:6933."""
    rings, of_polygon = shapely.get_rings(polygons, return_index=True)
    degrees, of_ring = shapely.get_coordinates(rings, return_index=True)
    lon_lat = np.radians(degrees)
    step = np.diff(lon_lat, axis=0)
    lat = np.maximum(np.abs(lon_lat[1:, 1]), np.abs(lon_lat[:-1, 1]))
    length_m = _EARTH_RADIUS_M * np.hypot(step[:, 0] * np.cos(lon_lat[1:, 1]), step[:, 1])
    errors_m2 = np.sqrt(2) * np.tan(lat) * length_m**3 / (12 * _EARTH_RADIUS_M)
    errors_m2[of_ring[1:] != of_ring[:-1]] = 0.0  # between two rings there is no edge
    return np.bincount(of_polygon[of_ring[1:]], weights=errors_m2, minlength=len(polygons)).astype(
        np.float64
    )


def _geodesic_area_m2(polygon: Polygon) -> float:
    def ring_m2(ring: BaseGeometry) -> float:
        lon, lat = shapely.get_coordinates(ring).T
        return abs(float(_GEOD.polygon_area_perimeter(lon, lat)[0]))

    return ring_m2(polygon.exterior) - sum(ring_m2(hole) for hole in polygon.interiors)


def local_scale_m(lon: float, lat: float) -> tuple[float, float]:
    """Metres per degree of longitude and of latitude at a point."""
    east_m = _GEOD.inv(lon, lat, lon + 1e-4, lat)[2]
    north_m = _GEOD.inv(lon, lat, lon, lat + 1e-4)[2]
    return east_m * 1e4, north_m * 1e4


def local_crs(lon: float, lat: float) -> CRS:
    """A Lambert azimuthal equal-area CRS in metres, centred on a point in degrees."""
    return CRS.from_proj4(f"+proj=laea +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84 +units=m")


def buffer_m(geometry: BaseGeometry, distance_m: float) -> MultiPolygon:
    """The buffer of `distance_m` metres around an EPSG:4326 geometry, as EPSG:4326.

    Computed in `local_crs` at the geometry's centre, so a circle has its true size at every
    latitude (less 0.04 %, as it is a polygon).

    Raises:
        GeometryError: an empty geometry, coordinates not on Earth, or nothing left after a
            negative buffer.
    """
    if geometry.is_empty or not np.isfinite(distance_m):
        raise GeometryError(f"cannot buffer an empty geometry, or by {distance_m} m")
    _check_degrees(shapely.get_coordinates(geometry))
    to_local = _to_local(*centre_lonlat(geometry))
    local = shapely.transform(geometry, to_local.transform, interleaved=False)
    buffered = shapely.buffer(local, distance_m, quad_segs=_QUAD_SEGMENTS)
    back = partial(to_local.transform, direction="INVERSE")
    lonlat = shapely.transform(buffered, back, interleaved=False)
    return polygonal(split_at_antimeridian(lonlat))


def without_new_slivers(part: BaseGeometry, whole: BaseGeometry, width_m: float) -> BaseGeometry:
    """A part of an EPSG:4326 geometry without the slivers that became narrower than `width_m`.

    A sliver that is as narrow in the whole stays: only those that cutting made are removed. The
    corners of what stays are kept, up to 60 degrees. May be empty.

    Raises:
        GeometryError: an empty geometry, or coordinates not on Earth.
    """
    narrow = shapely.difference(part, _opened(part, width_m))
    slivers, _ = _polygons(np.asarray([shapely.intersection(narrow, _opened(whole, width_m))]))
    slivers = slivers[areas_m2(slivers) >= _MIN_SLIVER_M2]
    return shapely.difference(part, shapely.union_all(slivers)) if len(slivers) else part


def _opened(geometry: BaseGeometry, width_m: float) -> BaseGeometry:
    """The geometry where it is at least `width_m` wide (a morphological opening, with corners)."""
    try:
        core = buffer_m(geometry, -width_m / 2)
    except GeometryError:
        if geometry.is_empty:
            raise
        return MultiPolygon()
    # Twice as far as it was eroded, which reaches into corners.
    return shapely.intersection(buffer_m(core, width_m), geometry)


def _to_local(lon: float, lat: float) -> Transformer:
    """EPSG:4326 -> `local_crs`, as an explicit pipeline: PROJ's search for one takes 5 ms."""
    return Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
        f"+step +proj=laea +lat_0={lat!r} +lon_0={lon!r} +ellps=WGS84"
    )


def polygonal(geometry: BaseGeometry) -> MultiPolygon:
    """The geometry as a valid MultiPolygon: repaired, without its lines and points. Any CRS.

    Raises:
        GeometryError: no area is left, or coordinates are not finite.
    """
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise GeometryError("the geometry has coordinates that are not finite numbers")
    valid = geometry if geometry.is_valid else _make_valid(geometry)
    polygons, _ = _polygons(np.asarray([valid], dtype=object))
    if not len(polygons) or not shapely.area(polygons).sum() > 0:
        raise GeometryError(
            f"a {geometry.geom_type} without an area is not a polygon; remove it or fix its rings"
        )
    multi = MultiPolygon(list(polygons))
    # Valid polygons of a collection may still overlap each other.
    return multi if multi.is_valid else polygonal(shapely.union_all(polygons))


def _make_valid(geometry: BaseGeometry) -> BaseGeometry:
    # "structure" unites overlapping parts, where "linework" would cut a hole. But only "linework"
    # handles rings that collapse within double precision.
    try:
        return shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    except shapely.errors.GEOSException:
        return shapely.make_valid(geometry, method="linework")


def iou(a: BaseGeometry, b: BaseGeometry) -> float:
    """Intersection over union (IoU), 0..1, of two valid EPSG:4326 geometries, by areas in m².

    Raises:
        GeometryError: invalid geometries, or coordinates not on Earth.
    """
    try:
        common = shapely.intersection(a, b)
    except shapely.GEOSException as error:
        raise GeometryError(f"cannot intersect: {error}; call polygonal() first") from error
    common_m2, a_m2, b_m2 = areas_m2([common, a, b])
    union_m2 = a_m2 + b_m2 - common_m2
    return float(common_m2 / union_m2) if union_m2 > 0 else 0.0
