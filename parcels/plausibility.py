"""Whether a county's lots are where the county is, and as large as lots are.

A wrong CRS moves lots or scales them, and nothing else fails: every property would get no lot, or
a lot ten times too large. Each warning names the likely cause and what to set.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_crs_info
from pyproj.enums import PJType
from pyproj.exceptions import CRSError, ProjError
from shapely import Point

from parcels.crs import from_wgs84
from parcels.errors import GeometryError
from parcels.measure import areas_m2
from parcels.registry.county import County
from parcels.registry.us_counties import box_of

log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]  # (west, south, east, north) in degrees

# The smallest and the largest median of a county's lots; townhouses and ranches (a quarter section
# has 650,000 m²) are within.
_MIN_MEDIAN_M2, _MAX_MEDIAN_M2 = 20.0, 5_000_000.0
# The median of most counties' lots is within a factor of ten of this.
_TYPICAL_MEDIAN_M2 = 1_000.0
# Feet read as metres make areas eleven times too large.
_MIN_UNLIKELINESS = 3.0
# Ranches would not be typical lots in another unit either.
_MAX_UNLIKELINESS_OF_OTHER = 30.0
_MIN_POLYGON_SHARE = 0.5
_SAMPLE_LOTS = 1_000
# A county's box is simplified, and lots may be just outside.
_MARGIN_DEGREES = 0.15
_MAX_CANDIDATES = 3
# That a CRS without a code is one of the EPSG registry, in percent.
_MIN_CONFIDENCE = 60
_FOOT_M2 = 0.3048**2
_GEOD = Geod(ellps="WGS84")


def check_plausibility(
    county: County, lots: NDArray[np.object_], crs: CRS | None = None
) -> list[str]:
    """Warnings about a county's lots; empty if they are plausible.

    Args:
        lots: (n,) EPSG:4326 lots, or a part of them; None for a row without a polygon.
        crs: that of the coordinates as stored, if known.
    """
    if not len(lots):
        return []
    drawn = lots[~shapely.is_missing(lots)]
    warnings = []
    if len(drawn) < _MIN_POLYGON_SHARE * len(lots):
        warnings.append(
            f"{county.key}: only {len(drawn):,} of {len(lots):,} rows have a valid polygon; check "
            "that 'path' or 'layer' is the layer of parcels, or leave the others out with 'where'"
        )
    if len(drawn):
        sample = drawn[:: max(1, len(drawn) // _SAMPLE_LOTS)]
        # Lots in the wrong place have the wrong size too, for the same reason.
        warnings += filter(
            None,
            [
                _wrong_place(county, sample, crs)
                or _wrong_unit(county, sample, crs)
                or _wrong_size(county, sample)
            ],
        )
    return warnings


def suggest_crs(county: County, x: float, y: float) -> str | None:
    """A CRS, as "EPSG:2274", in which stored coordinates are in the county; None if unknown."""
    known = _known_box(county)
    found = [] if known is None else _fitting_crs(x, y, known[0], "")
    return found[0] if found else None


def log_warnings(warnings: Sequence[str]) -> None:
    """Log the warnings of `check_plausibility`."""
    for warning in warnings:
        log.warning("%s", warning)


def _wrong_place(county: County, lots: NDArray[np.object_], crs: CRS | None) -> str | None:
    """The warning if most lots are outside of where the county is, or the CRS is made for."""
    known = _known_box(county)
    box, what = known if known is not None else _box_of_crs(crs)
    if box is None:
        return None
    centre = _centre(lots)
    if _is_inside(centre.x, centre.y, box):
        return None
    away_km = _distance_m(centre, box) / 1000
    where = f"longitude {centre.x:.3f}, latitude {centre.y:.3f}, {away_km:,.0f} km outside {what}"
    cause = _cause(centre, box, crs, is_known=known is not None)
    return f"{county.key}: its lots are at {where}; {cause}"


def _centre(lots: NDArray[np.object_]) -> Point:
    """The median of the lots' places."""
    return Point(*np.median(shapely.get_coordinates(shapely.point_on_surface(lots)), axis=0))


def _known_box(county: County) -> tuple[Box, str] | None:
    """Where the county is by its entry, and a name for it."""
    if county.extent is not None:
        if county.extent[0] > county.extent[2]:  # across longitude 180: not checked
            return None
        return county.extent, "the 'extent' of its registry entry"
    box = box_of(county.state, county.fips)
    if box is None:
        return None
    return box, county.name if county.fips else f"the state {county.state}"


def _box_of_crs(crs: CRS | None) -> tuple[Box | None, str]:
    return (None, "") if crs is None else (_area_of_use(crs), f"the area of {crs.name}")


def _area_of_use(crs: CRS) -> Box | None:
    """Where a CRS applies; one without a code is looked up by its parameters."""
    area = crs.area_of_use
    if area is None:
        authority = crs.to_authority(min_confidence=_MIN_CONFIDENCE)
        area = None if authority is None else CRS.from_authority(*authority).area_of_use
    if area is None or area.west > area.east:  # it crosses the antimeridian
        return None
    return area.west, area.south, area.east, area.north


def _cause(centre: Point, box: Box, crs: CRS | None, *, is_known: bool) -> str:
    """The likely cause and what to set.

    Args:
        is_known: whether the county is in the box; else only the CRS is made for it.
    """
    if _is_inside(centre.y, centre.x, box):
        return (
            "longitude and latitude are swapped: correct the coordinates, or the axis order in "
            "the file"
        )
    stored = _stored(centre, crs)
    # Without the county's place, only the same CRS in another unit is a good guess.
    name = crs.name.split(" (")[0] if crs is not None and not is_known else ""
    candidates = [] if stored is None else _fitting_crs(*stored, box, name)
    if stored is None or crs is None or not candidates:
        return (
            "check 'path' or 'url' and 'layer', 'state', 'fips' and 'extent', or set 'crs:' of a "
            "file to the county's CRS"
        )
    cause = "the CRS is wrong"
    fit = CRS.from_user_input(candidates[0])
    if fit.axis_info[0].unit_name != crs.axis_info[0].unit_name and not crs.is_geographic:
        cause = f"its coordinates are in {_unit(fit)} and the CRS ({crs.name}) in {_unit(crs)}"
    fits = " or ".join(candidates[:_MAX_CANDIDATES])
    return f"{cause}: set 'crs:' in the registry entry; coordinates fit with crs: {fits}"


def _unit(crs: CRS) -> str:
    name = crs.axis_info[0].unit_name
    return "feet" if "foot" in name else f"{name}s"


def _stored(centre: Point, crs: CRS | None) -> tuple[float, float] | None:
    """The coordinates in the file of a point in degrees."""
    if crs is None:
        return None
    try:
        point = from_wgs84(np.asarray([centre], dtype=object), crs)[0]
    except GeometryError:
        return None
    return (point.x, point.y) if np.isfinite([point.x, point.y]).all() else None


def _fitting_crs(x: float, y: float, box: Box, name: str) -> list[str]:
    """EPSG codes of the CRSs for this box in which stored coordinates lie in it.

    Args:
        name: that the names of the CRSs start with.
    """
    if _is_inside(x, y, box):
        return ["EPSG:4326"]
    west, south, east, north = box
    # Not the whole box: a state's is larger than the areas of its CRSs.
    x_margin, y_margin = (east - west) * 0.4, (north - south) * 0.4
    core = AreaOfInterest(west + x_margin, south + y_margin, east - x_margin, north - y_margin)
    infos = query_crs_info("EPSG", PJType.PROJECTED_CRS, core, contains=True)
    found = []
    for info in sorted(infos, key=_preference):
        if not info.name.startswith(name):
            continue
        try:
            crs = CRS.from_epsg(int(info.code))
            base = crs.geodetic_crs
            if base is None:
                continue
            lon, lat = Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
        except (CRSError, ProjError):
            continue
        if _is_inside(lon, lat, box):
            found.append(f"EPSG:{info.code}")
        if len(found) == _MAX_CANDIDATES:
            break
    return found


def _preference(info: object) -> tuple[bool, bool, int]:
    """The CRSs of county GIS first: NAD83 in feet."""
    name = str(getattr(info, "name", ""))
    return not name.startswith("NAD83 /"), "ftUS" not in name, int(getattr(info, "code", 0))


def _wrong_size(county: County, lots: NDArray[np.object_]) -> str | None:
    """The warning if the median lot is too small or too large for a county."""
    median_m2 = float(np.median(areas_m2(lots)))
    if _MIN_MEDIAN_M2 <= median_m2 <= _MAX_MEDIAN_M2:
        return None
    size = f"{county.key}: its median lot has {median_m2:,.{0 if median_m2 > 10 else 2}f} m²"
    if median_m2 > _MAX_MEDIAN_M2:
        return (
            f"{size}, which is large for lots; if feet were read as metres, areas are "
            f"{1 / _FOOT_M2:.1f} times too large: set 'crs:' in the registry entry to the "
            "county's CRS in feet"
        )
    return (
        f"{size}, which is small for lots; check that 'path' or 'layer' is the layer of parcels, "
        f"or, if metres were read as feet (areas {1 / _FOOT_M2:.1f} times too small), set 'crs:' "
        "in the registry entry"
    )


def _wrong_unit(county: County, lots: NDArray[np.object_], crs: CRS | None) -> str | None:
    """The warning if the same coordinates in another unit give lots of a far likelier size.

    State plane zones exist in metres and in feet, and a .prj that names the wrong one may still put
    the lots somewhere in the state.
    """
    median_m2 = float(np.median(areas_m2(lots)))
    if crs is None or crs.is_geographic or _unlikeliness(median_m2) < _MIN_UNLIKELINESS:
        return None
    known = _known_box(county)
    box = known[0] if known is not None else _box_of_crs(crs)[0]
    stored = _stored(_centre(lots), crs)
    if box is None or stored is None:
        return None
    own_m = crs.axis_info[0].unit_conversion_factor
    for code in _fitting_crs(*stored, box, crs.name.split(" (")[0]):
        fit = CRS.from_user_input(code)
        other_m = fit.axis_info[0].unit_conversion_factor
        other_m2 = median_m2 * (other_m / own_m) ** 2
        is_other_unit = not fit.is_geographic and abs(other_m / own_m - 1) > 0.1
        other = _unlikeliness(other_m2)
        is_likely = _unlikeliness(median_m2) > _MIN_UNLIKELINESS * other
        if is_other_unit and is_likely and other <= _MAX_UNLIKELINESS_OF_OTHER:
            return (
                f"{county.key}: its median lot has {median_m2:,.0f} m², but {other_m2:,.0f} m² if "
                f"its coordinates are in {_unit(fit)}, and not in {_unit(crs)} as the CRS says "
                f"({crs.name}); if so, set 'crs:' in the registry entry, for example crs: {code}"
            )
    return None


def _unlikeliness(median_m2: float) -> float:
    """The factor between a median lot and a typical one, at least 1."""
    return max(median_m2 / _TYPICAL_MEDIAN_M2, _TYPICAL_MEDIAN_M2 / median_m2)


def _is_inside(x: float, y: float, box: Box) -> bool:
    west, south, east, north = box
    in_x = west - _MARGIN_DEGREES <= x <= east + _MARGIN_DEGREES
    return in_x and south - _MARGIN_DEGREES <= y <= north + _MARGIN_DEGREES


def _distance_m(point: Point, box: Box) -> float:
    west, south, east, north = box
    x, y = min(max(point.x, west), east), min(max(point.y, south), north)
    return float(_GEOD.inv(point.x, point.y, x, y)[2])
