"""How large a map is: its width on the ground, and a bar in metres and in feet."""

from __future__ import annotations

import math

from pyproj import Geod

from pipeline.report.html import Raw, element, joined
from pipeline.store.runs.map_data import MapBounds
from pipeline.units import M_PER_FT

_FT_PER_MILE = 5_280
_GEOD = Geod(ellps="WGS84")
_TICK = 0.4  # of the letters' height


def width_m(bounds: MapBounds) -> float:
    """From the west to the east, along the middle's latitude (a geodesic of WGS 84)."""
    west, south, east, north = bounds
    middle = (south + north) / 2
    return float(_GEOD.inv(west, middle, east, middle)[2])


def scale_bar(x: float, y: float, most: float, units_per_m: float, letters: float) -> Raw:
    """Two bars of round lengths that begin together: metres above, feet below.

    Args:
        x, y: where they begin, in units of the drawing.
        most: units that neither is longer than.
        letters: their height, in units.
    """
    length_m = _round(most / units_per_m)
    most_ft = most / units_per_m / M_PER_FT
    is_far = most_ft >= _FT_PER_MILE
    length_ft = _round(most_ft / _FT_PER_MILE) * _FT_PER_MILE if is_far else _round(most_ft)
    tick = _TICK * letters
    bars = "".join(
        f"M{x:g} {y + side * tick:g}V{y:g}H{x + length * units_per_m:g}V{y + side * tick:g}"
        for side, length in ((-1, length_m), (1, length_ft * M_PER_FT))
    )
    texts = (
        ("-0.4em", f"{length_m / 1e3:g} km" if length_m >= 1e3 else f"{length_m:g} m"),
        ("1em", f"{length_ft / _FT_PER_MILE:g} mi" if is_far else f"{length_ft:g} ft"),
    )
    labels = [element("text", said, x=f"{x + tick:g}", y=f"{y:g}", dy=off) for off, said in texts]
    parts = joined([element("path", d=bars), *labels])
    return element("g", parts, class_="scale", style=f"font-size:{letters:g}px")


def _round(most: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten that is no longer."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(size * power for size in (1, 2, 5) if size * power <= most or size == 1)
