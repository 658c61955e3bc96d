"""A box on the map, as people write it."""

from __future__ import annotations

from collections.abc import Sequence

# (west, south, east, north) in degrees.
BBox = tuple[float, float, float, float]

_HOW = "write WEST,SOUTH,EAST,NORTH in degrees, such as -90.1,35.0,-89.9,35.2"


def parse_bbox(text: str) -> BBox:
    """A box from four numbers with commas between them.

    Raises:
        ValueError: they are no box; it says why, and how to write one.
    """
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{text!r} is not four numbers: {_HOW}") from None
    return validate_bbox(sides)


def validate_bbox(sides: Sequence[object]) -> BBox:
    """A box from its west, south, east and north.

    Raises:
        ValueError: they are no box; it says why, and how to write one.
    """
    numbers = [float(side) for side in sides if isinstance(side, int | float)]
    shown = ",".join(str(side) for side in sides)
    if not len(numbers) == len(sides) == 4:
        raise ValueError(f"{shown!r} is not four numbers: {_HOW}")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise ValueError(f"the longitudes {west:g} and {east:g} are not within ±180: {_HOW}")
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        swapped = -90 <= west <= 90 and -90 <= east <= 90
        hint = "; latitude and longitude look swapped" if swapped else ""
        raise ValueError(f"the latitudes {south:g} and {north:g} are not within ±90{hint}: {_HOW}")
    if west >= east or south >= north:
        side = "west of its east" if west >= east else "south of its north"
        raise ValueError(f"the box {shown} does not begin {side}: {_HOW}")
    return west, south, east, north
