"""Guessing columns: candidates by name, confirmed by their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parcels.catalogue.column_guess import ColumnGuess, candidates, guess_columns
from parcels.column_mapping import (
    choose_parcel_type,
    no_parcel_id_error,
    parcel_id_candidates,
)

SHELBY = (
    Path(__file__).resolve().parents[3]
    / "shared/data/arcgis/shelby_tn/cert_parcel_query_1feature.REDACTED.json"
)


def guessed(*columns: str, rows: list[tuple[Any, ...]] | None = None) -> ColumnGuess:
    sample = [dict(zip(columns, row, strict=True)) for row in rows or []]
    return guess_columns(columns, "OBJECTID", sample)


def test_the_columns_of_shelby_county() -> None:
    if not SHELBY.exists():
        pytest.skip("the recorded responses are not here (../shared/data/arcgis)")
    row = json.loads(SHELBY.read_text())["features"][0]["attributes"]
    assert guess_columns(list(row), "OBJECTID", [row]).fields == {
        "parcel_id": "PARCELID",
        "address": "PAR_ADDR1",
        "house_number": "PAR_ADRNO",
        "street": ["PAR_ADRPREDIR", "PAR_ADRSTR", "PAR_ADRSUF"],
        "unit": "PAR_UNITNO",
        "postcode": "PAR_ZIP",
    }
    assert not [name for name in candidates(list(row), "OBJECTID") if name.startswith("OWN")]


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        ("OBJECTID APN", {"parcel_id": "APN"}),
        ("OBJECTID PIN PARCEL_ID", {"parcel_id": "PARCEL_ID"}),
        ("OBJECTID GIS_PIN", {"parcel_id": "GIS_PIN"}),
        ("OBJECTID MapTaxlot", {"parcel_id": "MapTaxlot"}),
        ("OBJECTID NAME SHAPE", {}),
        ("OBJECTID PINE_TREES SPIN", {}),
        ("SITUS", {"address": "SITUS"}),
        ("dbo.parcels.SITUS_ADDR", {"address": "dbo.parcels.SITUS_ADDR"}),
        ("ADDRESS", {}),  # may be the owner's
        ("HOUSE_NO STREET_NAME", {"house_number": "HOUSE_NO", "street": ["STREET_NAME"]}),
        (
            "OWN_STREET_NO OWN_STREET_NAME SITUS_NUM SITUS_DIR SITUS_STREET SITUS_CITY ZIP",
            {
                "house_number": "SITUS_NUM",
                "street": ["SITUS_DIR", "SITUS_STREET"],
                "city": "SITUS_CITY",
            },
        ),
        ("MAIL_ADDR MAIL_CITY OWNER1 OWNER_ADDRESS", {}),
    ],
)
def test_common_column_names_are_mapped(columns: str, fields: dict[str, Any]) -> None:
    assert guessed(*columns.split()).fields == fields


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([None, "", None, None], "is empty"),
        (["0", "0", "0", "0"], "is the same in every row"),
        ([None, None, None, "1"], "is empty in most rows"),
        (["1", "1", "1", "2", "1"], "is the same in many rows"),
    ],
)
def test_a_column_without_id_values_is_refused(values: list[Any], problem: str) -> None:
    rows = [(value, f"{n:03d}") for n, value in enumerate(values)]
    found = guessed("PARCEL_ID", "PIN", rows=rows)
    assert found.fields == {"parcel_id": "PIN"}
    assert found.refused == {"PARCEL_ID": problem}


def test_a_single_row_is_enough_for_an_id_column() -> None:
    assert guessed("PIN", rows=[("7",)]).fields == {"parcel_id": "PIN"}


def test_ambiguous_names_need_matching_values() -> None:
    columns = ("APN", "NUMBER", "PREDIR", "STREET", "SUFFIX", "LINE", "CITY", "ZIP")
    rows = [
        ("1-1", 12.0, "N", "MAIN", "ST", "12 N MAIN ST", "TOWN", "92501"),
        ("1-2", 14.0, None, "OAK", "Avenue", "14 OAK AVE", "TOWN", "92501"),
        ("1-3", None, None, None, None, None, None, None),
    ]
    numbered = {"parcel_id": "APN", "house_number": "NUMBER"}
    town = {"city": "CITY", "postcode": "ZIP"}
    found = guessed(*columns, rows=rows)
    assert found.fields == {**numbered, "street": ["PREDIR", "STREET", "SUFFIX"], **town}
    assert found.has_addresses
    of_the_number = [(*row[:4], "A", *row[5:]) for row in rows]
    assert guessed(*columns, rows=of_the_number).fields["street"] == ["PREDIR", "STREET"]
    no_numbers = [(row[0], "LOT", *row[2:]) for row in rows]
    assert not guessed(*columns, rows=no_numbers).has_addresses
    assert not guessed(*columns).has_addresses, "a name alone is not enough"
    assert not guessed("APN", "NUMBER", "CITY", rows=[("1-1", 12.0, "TOWN")]).has_addresses
    assert {"NUMBER", "SUFFIX"} <= set(candidates(columns, None))


def test_address_columns_need_address_values() -> None:
    columns = ("SITUS", "STREET_NO", "STREET")
    good = [("12 MAIN ST", 12.0, "MAIN ST"), (None, None, None), ("MAIN ST 14", "14A", "MAIN ST")]
    assert guessed(*columns, rows=good).fields == {"address": "SITUS"}
    no_address = [("VACANT", 12.0, "MAIN ST"), ("LAND", "14A", "MAIN ST")]
    assert guessed(*columns, rows=no_address).fields == {
        "house_number": "STREET_NO",
        "street": ["STREET"],
    }
    assert guessed(*columns, rows=[("VACANT", "LOT", "MAIN ST")]).fields == {}


@pytest.mark.parametrize("name", ["Parcel ID", "PARCELNUMBER", "parcel-no", "Parcel_Type ", "PIN "])
def test_usual_names_of_columns_with_blanks(name: str) -> None:
    other = "P_ID"
    if "Type" in name:
        assert choose_parcel_type(None, [other, name]) == name
    else:
        assert parcel_id_candidates([other, name]) == [name]


def test_columns_that_all_may_be_the_id_are_named_with_the_cure() -> None:
    said = str(no_parcel_id_error(["ain", "area", "apn"], "lots.gpkg"))
    assert "the parcel id column may be apn or ain" in said
    assert "fields: {parcel_id: apn}" in said
    assert "the columns are area" in str(no_parcel_id_error(["area"], "lots.gpkg"))
