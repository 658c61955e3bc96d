"""Coordinates as people and spreadsheets write them."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.properties_csv.degrees import Axis, parse_degrees, parse_pair
from pipeline.properties_csv.problems import RowProblem


@pytest.mark.parametrize(
    ("text", "axis", "degrees"),
    [
        ("-89.97", "longitude", -89.97),
        ("-89,97", "longitude", -89.97),
        ("+35.15", "latitude", 35.15),
        (".5", "latitude", 0.5),
        ("35.", "latitude", 35.0),
        ("\u221289.97", "longitude", -89.97),
        ("\u201389.97", "longitude", -89.97),
        ("-8.997e+01", "longitude", None),
        ("-8.9971234e+01", "longitude", -89.971234),
        ("7e-05", "longitude", 7e-05),
        ("35.15°", "latitude", 35.15),
        ("35.15 N", "latitude", 35.15),
        ("N35.15", "latitude", 35.15),
        ("89.97° W", "longitude", -89.97),
        ("89.97 West", "longitude", -89.97),
        ("12,5° S", "latitude", -12.5),
        ("35°08'58\" N", "latitude", 35 + 8 / 60 + 58 / 3600),
        ("35 8 58.5 N", "latitude", 35 + 8 / 60 + 58.5 / 3600),
        ("89° 58.2\u2032 W", "longitude", -(89 + 58.2 / 60)),
        ("-89° 58\u2032 12\u2033", "longitude", -(89 + 58 / 60 + 12 / 3600)),
    ],
)
def test_degrees(text: str, axis: Axis, degrees: float | None) -> None:
    if degrees is None:
        with pytest.raises(RowProblem, match="lost its digits"):
            parse_degrees(text, axis, axis)
    else:
        assert parse_degrees(text, axis, axis) == pytest.approx(degrees, abs=1e-12)


@given(st.text("0123456789+-.,eENSWds°'\"|;/() \n", max_size=20))
def test_any_text_is_degrees_or_a_problem(text: str) -> None:
    with suppress(RowProblem):
        assert isinstance(parse_degrees(text, "latitude", "latitude"), float)
    with suppress(RowProblem):
        longitude, latitude = parse_pair(text, "unknown", "Coordinates")
        assert isinstance(longitude, float)
        assert isinstance(latitude, float)


def test_no_number_is_not_on_earth() -> None:
    assert math.isnan(parse_degrees("NaN", "latitude", "latitude"))
    assert math.isinf(parse_degrees("-inf", "latitude", "latitude"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ninety", "longitude is 'ninety', not a number; use decimal degrees such as -89.97"),
        ("35.149.534", "the decimal point became a thousands separator"),
        ("35,149,534", "the decimal point became a thousands separator"),
        ("1.234,5", "the decimal point became a thousands separator"),
        ("-9.01E+01", "lost its digits"),
        ("#REF!", "Excel's error #REF!"),
        ("#####", "narrow column"),
        ("35.15 N", "which is a latitude; the columns look swapped"),
        ("-89.97 W", "give the sign or W, not both"),
        ("89 58 12", "not a number"),
        ("89°61' W", "not a number"),
        ("89.5°58' W", "not a number"),
        ("1_0", "not a number"),
        ("1E+99999", "lost its digits"),
        ("1E+9999999999", "not a number"),
        ("90 90", "not a number"),
        ("W 89.97 W", "not a number"),
        ("٣٥", "not a number"),
    ],
)
def test_a_value_that_is_no_longitude(text: str, problem: str) -> None:
    with pytest.raises(RowProblem) as error:
        parse_degrees(text, "longitude", "longitude")
    assert problem in str(error.value)
