"""The scale bar of a map: its width on the ground, and bars in metres and in feet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyproj import Geod

from pipeline.store.runs.map_data import MapBounds
from pipeline.units import M_PER_FT

_FT_PER_MILE = 5_280
_GEOD = Geod(ellps="WGS84")
_TICK = 0.4  # of the text height


@dataclass(frozen=True, slots=True)
class ScaleBarLabel:
    """The text at a bar: its anchor in drawing units, and its offset in ems."""

    text: str
    x: float
    y: float
    dy: str


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """Two bars as one SVG path, with a label each; `font_size` in drawing units."""

    path: str
    labels: tuple[ScaleBarLabel, ...]
    font_size: float


def width_m(bounds: MapBounds) -> float:
    """From the west to the east edge along the middle latitude (a geodesic of WGS 84)."""
    west, south, east, north = bounds
    middle = (south + north) / 2
    return float(_GEOD.inv(west, middle, east, middle)[2])


def scale_bar(
    x: float, y: float, max_length: float, units_per_m: float, font_size: float
) -> ScaleBar:
    """Two bars of round lengths with a common start: metres above, feet below.

    Args:
        x, y: where they start, in drawing units.
        max_length: of each bar, in drawing units.
        font_size: in drawing units.
    """
    length_m = _round_down(max_length / units_per_m)
    max_ft = max_length / units_per_m / M_PER_FT
    in_miles = max_ft >= _FT_PER_MILE
    length_ft = (
        _round_down(max_ft / _FT_PER_MILE) * _FT_PER_MILE if in_miles else _round_down(max_ft)
    )
    tick = _TICK * font_size
    path = "".join(
        f"M{x:g} {y + side * tick:g}V{y:g}H{x + length * units_per_m:g}V{y + side * tick:g}"
        for side, length in ((-1, length_m), (1, length_ft * M_PER_FT))
    )
    metres = f"{length_m / 1e3:g} km" if length_m >= 1e3 else f"{length_m:g} m"
    feet = f"{length_ft / _FT_PER_MILE:g} mi" if in_miles else f"{length_ft:g} ft"
    labels = (
        ScaleBarLabel(metres, x + tick, y, "-0.4em"),
        ScaleBarLabel(feet, x + tick, y, "1em"),
    )
    return ScaleBar(path, labels, font_size)


def _round_down(length: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(size * power for size in (1, 2, 5) if size * power <= length or size == 1)
