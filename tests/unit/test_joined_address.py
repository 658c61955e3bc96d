"""Addresses in several columns."""

from __future__ import annotations

import pytest

from pipeline.properties_csv.header_names import Role
from pipeline.properties_csv.joined_address import join_address, restore_zip
from pipeline.properties_csv.problems import RowProblem

TOWN: dict[Role, str] = {"city": "Memphis", "state": "TN", "zip": "38103"}
PLUS_4 = "1 Oak St, Memphis, TN 38103-1234"


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"address": "1 Oak St", **TOWN}, "1 Oak St, Memphis, TN 38103"),
        ({"address": "1 Oak St", "unit": "4B", **TOWN}, "1 Oak St Unit 4B, Memphis, TN 38103"),
        ({"address": "1 Oak St", "unit": "# 4", **TOWN}, "1 Oak St Unit 4, Memphis, TN 38103"),
        ({"address": "1 Oak St", "unit": "Apt 4", "city": "Memphis"}, "1 Oak St Apt 4, Memphis"),
        ({"address": "1 Oak St Apt 4", "unit": "4"}, "1 Oak St Apt 4"),
        ({"address": PLUS_4, **TOWN}, PLUS_4),
        ({"address": "1 Oak St, Memphis", **TOWN}, "1 Oak St, Memphis, TN 38103"),
        ({"address": "1 Oak St Memphis TN", **TOWN}, "1 Oak St Memphis TN, 38103"),
        ({"address": "1 Memphis", **TOWN}, "1 Memphis, Memphis, TN 38103"),
        ({"address": "12 Elm Ct", "city": "Avon", "state": "CT"}, "12 Elm Ct, Avon, CT"),
        ({"address": "1 Oak St, Memphis TN 38103", "unit": "4", **TOWN},
         "1 Oak St Unit 4, Memphis TN 38103"),
        ({"house_number": "12.0", "street": "Elm", "street_type": "Ave"}, "12 Elm Ave"),
        ({"house_number": "12", "street": "12 Elm Ave"}, "12 Elm Ave"),
        ({"house_number": "12", "number_suffix": "1/2", "street": "Elm Ave"}, "12 1/2 Elm Ave"),
        ({"house_number": "12", "number_suffix": "1/2", "street": "12 1/2 Elm Ave"},
         "12 1/2 Elm Ave"),
        ({"house_number": "12", "pre_direction": "N", "street": "Elm", "post_direction": "E"},
         "12 N Elm E"),
        ({"address": "", **TOWN}, ""),
    ],
)  # fmt: skip
def test_parts_are_joined_once(parts: dict[Role, str], line: str) -> None:
    assert join_address(parts) == line


def test_two_zip_codes_are_refused() -> None:
    with pytest.raises(RowProblem, match="disagree"):
        join_address({"address": "1 Oak St, Memphis, TN 38104", **TOWN})


@pytest.mark.parametrize(
    ("postcode", "state", "restored"),
    [
        ("2139", "MA", "02139"),
        ("2139.0", "", "02139"),
        ("501", "", "00501"),
        ("21391234", "ma", "02139-1234"),
        ("2139-1234", "MA", "02139-1234"),
        ("381031234", "TN", "381031234"),
        ("3810", "TN", "3810"),
        ("38103", "TN", "38103"),
        ("38103.0", "TN", "38103"),
        ("", "", ""),
    ],
)
def test_zip_codes(postcode: str, state: str, restored: str) -> None:
    assert restore_zip(postcode, state) == restored
