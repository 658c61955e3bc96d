"""Boxes as people write them."""

from __future__ import annotations

import pytest

from pipeline.bbox import parse_bbox


def test_west_south_east_north() -> None:
    assert parse_bbox("-90.1, 35.0,-89.9,35.2") == (-90.1, 35.0, -89.9, 35.2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-90,35,-89", "not four numbers"),
        ("-90,35,-89,north", "not four numbers"),
        ("35,-120,36,-119", "not within ±90; latitude and longitude look swapped"),
        ("-190,35,-189,36", "longitudes -190 and -189 are not within ±180"),
        ("nan,35,-89,36", "longitudes nan"),
        ("-90,35,-89,inf", "latitudes 35 and inf"),
        ("-89,35,-90,36", "does not begin west of its east"),
        ("-90,36,-89,35", "does not begin south of its north"),
    ],
)
def test_what_is_no_box_says_how_to_write_one(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        parse_bbox(text)
    assert "WEST,SOUTH,EAST,NORTH" in str(error.value)
