"""Bounding boxes as users write them."""

from __future__ import annotations

from collections.abc import Sequence

# (west, south, east, north) in degrees; west is more than east in a box across longitude 180.
BBox = tuple[float, float, float, float]

_EXAMPLE = "write WEST,SOUTH,EAST,NORTH in degrees, such as -90.1,35.0,-89.9,35.2"


def parse_bbox(text: str) -> BBox:
    """Parse "WEST,SOUTH,EAST,NORTH" in degrees.

    Raises:
        ValueError: not a valid box, with the reason and an example.
    """
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{text!r} is not four numbers; {_EXAMPLE}") from None
    return validate_bbox(sides)


def validate_bbox(sides: Sequence[object]) -> BBox:
    """Check (west, south, east, north) in degrees.

    Raises:
        ValueError: not a valid box, with the reason and an example.
    """
    numbers = [float(side) for side in sides if isinstance(side, int | float)]
    text = ",".join(str(side) for side in sides)
    if not len(numbers) == len(sides) == 4:
        raise ValueError(f"{text!r} is not four numbers; {_EXAMPLE}")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise ValueError(f"the longitudes {west:g} and {east:g} are not within ±180; {_EXAMPLE}")
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        swapped = -90 <= west <= 90 and -90 <= east <= 90
        hint = "; latitude and longitude look swapped" if swapped else ""
        raise ValueError(
            f"the latitudes {south:g} and {north:g} are not within ±90{hint}; {_EXAMPLE}"
        )
    # Across longitude 180 the box begins in the east of the world and ends in its west.
    is_across_180 = west > 0 > east and east + 360 - west < 180
    if south >= north or (west >= east and not is_across_180):
        wrong = "south is not less than north" if south >= north else "west is not less than east"
        raise ValueError(f"{text!r}: {wrong}; {_EXAMPLE}")
    return west, south, east, north
