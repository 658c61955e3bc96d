"""Real parcels and NAIP imagery: every point of the CSVs has the expected result."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from user import User


# All three have the same format and the same kinds of points.
@pytest.mark.parametrize(
    "county",
    ["long_beach", *(pytest.param(c, marks=pytest.mark.long) for c in ("claremont", "riverside"))],
)
def test_every_point_has_the_expected_result(
    fresh: User, real_registry: Path, real_data: Path, county: str
) -> None:
    args = ("--county", county, "--registry", str(real_registry))
    fresh.run("batch", *args)
    fresh.run("export", *args, "--out", "out", "--format", "csv")

    with (fresh.folder / "out" / "properties.csv").open() as file:
        found = {row["property_id"]: row for row in csv.DictReader(file)}
    with (real_data / "properties" / f"{county}.csv").open() as file:
        expected = {row["property_id"]: row for row in csv.DictReader(file)}

    assert found.keys() == expected.keys()
    assert {name: _result_of(row) for name, row in found.items()} == {
        name: row["expect"] for name, row in expected.items()
    }
    for name, row in expected.items():
        if row["parcel_id"]:
            assert row["parcel_id"] in found[name]["parcel_ids"].split(";")

    again = fresh.run("batch", *args)
    assert "Nothing to do" in again.stdout


def _result_of(row: dict[str, str]) -> str:
    if row["state"] == "no_imagery":
        return "no_imagery"
    assert row["state"] == "done", row
    if row["source"] == "buffer_30m":
        return "no_parcel"
    return "parcel_partly_imaged" if row["partly_imaged"] == "True" else "parcel"
