"""Parse bounding boxes."""

from __future__ import annotations

import pytest

from pipeline.bbox import parse_bbox


def test_a_box_is_west_south_east_north() -> None:
    assert parse_bbox("-90.1, 35.0,-89.9,35.2") == (-90.1, 35.0, -89.9, 35.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-90,35,-89", "not four numbers"),
        ("-90,35,-89,north", "not four numbers"),
        ("35,-120,36,-119", "not within ±90; latitude and longitude look swapped"),
        ("-190,35,-189,36", "longitudes -190 and -189 are not within ±180"),
        ("nan,35,-89,36", "longitudes nan"),
        ("-90,35,-89,inf", "latitudes 35 and inf"),
        ("-89,35,-90,36", "west is not less than east"),
        ("1,35,-1,36", "west is not less than east"),
        ("-170,35,170,-36", "south is not less than north"),
        ("-90,36,-89,35", "south is not less than north"),
    ],
)
def test_an_invalid_box_is_rejected_with_an_example(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_bbox(text)
    assert "WEST,SOUTH,EAST,NORTH" in str(error.value)


def test_a_box_across_longitude_180_has_west_more_than_east() -> None:
    assert parse_bbox("179,-17,-179.5,-16") == (179, -17, -179.5, -16)
