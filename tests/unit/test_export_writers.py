"""Tables as files: what a spreadsheet would run is text."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas
import pytest
import shapely

from pipeline.export.writers import write_table


def test_text_in_a_csv_is_no_formula_and_numbers_stay(tmp_path: Path) -> None:
    texts = ["=1+1", "+12 Oak", "-cmd", "@sum", "\t=1", "-90.05", "+12", "a=b", "", None]
    frame = geopandas.GeoDataFrame(
        {"text": texts, "longitude": [-90.05] * len(texts)},
        geometry=[shapely.Point(0, 0)] * len(texts),
        crs="EPSG:4326",
    )
    write_table(frame, tmp_path / "t.csv", "csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [
        "'=1+1", "'+12 Oak", "'-cmd", "'@sum", "'\t=1", "-90.05", "+12", "a=b", "", "",
    ]  # fmt: skip
    assert {row["longitude"] for row in rows} == {"-90.05"}


@pytest.mark.parametrize("kind", ["geojson", "geoparquet"])
def test_other_formats_hold_the_text_as_it_is(tmp_path: Path, kind: str) -> None:
    frame = geopandas.GeoDataFrame(
        {"text": ["=1+1"]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326"
    )
    path = tmp_path / "t"
    write_table(frame, path, kind)
    read = geopandas.read_parquet if kind == "geoparquet" else geopandas.read_file
    assert list(read(path)["text"]) == ["=1+1"]
