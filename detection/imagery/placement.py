"""Whether a file's geotransform can be that of aerial imagery; one that cannot is left out."""

from __future__ import annotations

import math

import rasterio
from pyproj import CRS

from detection.imagery.raster_file import UnreadableRaster

# Pixels on the ground, in metres: between a picture of a desk and the worst satellite.
_MIN_PIXEL_M, _MAX_PIXEL_M = 0.001, 1000.0
_MAX_SIDE_M = 50_000_000.0
_MAX_COORDINATE = 1e12
_MIN_SINE = 1e-6
_EARTH_RADIUS_M = 6_371_000.0


def check_placement(dataset: rasterio.DatasetReader, crs: str) -> None:
    """Refuse pixels without an area, of a size that no imagery has, or nowhere on the Earth.

    Raises:
        UnreadableRaster: with the reason and what to type.
        pyproj.exceptions.CRSError: the CRS is none.
    """
    transform = dataset.transform
    values = tuple(transform)[:6]
    if not all(map(math.isfinite, values)):
        raise _refused(f"its geotransform has a value that is no number: {_row(values)}")
    across, down = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
    if not abs(transform.determinant) > _MIN_SINE * across * down > 0:
        raise _refused(f"its pixels have no area: its geotransform is {_row(values)}")
    unit_m = _unit_m(CRS.from_user_input(crs))
    for side_m in (across * unit_m, down * unit_m):
        if not _MIN_PIXEL_M <= side_m <= _MAX_PIXEL_M:
            raise _refused(
                f"its pixels would be {side_m:.3g} m long on the ground, but imagery has "
                f"{_MIN_PIXEL_M:g} m to {_MAX_PIXEL_M:g} m",
            )
    longest_m = max(dataset.width * across, dataset.height * down) * unit_m
    if longest_m > _MAX_SIDE_M or max(abs(transform.c), abs(transform.f)) > _MAX_COORDINATE:
        raise _refused(
            f"its {dataset.width:,} x {dataset.height:,} pixels at ({transform.c:.6g}, "
            f"{transform.f:.6g}) reach beyond the Earth",
        )


def _unit_m(crs: CRS) -> float:
    """The length of a unit of the CRS in metres; of a degree, on a great circle."""
    factor = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
    return factor * _EARTH_RADIUS_M if crs.is_geographic else factor


def _row(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _refused(reason: str) -> UnreadableRaster:
    return UnreadableRaster(
        f"{reason}. Correct its CRS (gdal_edit.py -a_srs) or its corners (gdal_edit.py -a_ullr "
        "LEFT TOP RIGHT BOTTOM), or remove the file"
    )
