"""An export of a list, a run or a box, with the customer's own columns in every format."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from parcels import County
from pipeline.errors import ExportError
from pipeline.export import export_county
from pipeline.export.export_request import ExportRequest
from pipeline.properties_csv import file_sha256, layout_of, read_properties, read_rows
from pipeline.store.database import Database
from pipeline.store.queue import loading

KEY = "little"
COUNTY = County(key=KEY, name="Little County", path="/nowhere/parcels.gpkg")
LONG_ID = "012345678901234567"
SUFFIX = {"geoparquet": ".parquet", "geojson": ".geojson", "csv": ".csv"}


def load(database: Database, path: Path, content: str) -> Path:
    """Write a properties file and load it as a batch does."""
    path.write_text(content, encoding="utf-8")
    names = tuple(layout_of(path).own_columns.values())
    with database.engine.begin() as conn:
        loading.load_list(conn, KEY, file_sha256(path), read_rows(path), names)
    return path


def rows_of(folder: Path, kind: str) -> list[dict[str, object]]:
    """The rows of the properties table, by property id, without their geometry."""
    path = folder / f"properties{SUFFIX[kind]}"
    if kind == "geoparquet":
        rows = pq.read_table(path).drop_columns(["geometry", "bbox"]).to_pylist()
    elif kind == "geojson":
        rows = [each["properties"] for each in json.loads(path.read_text())["features"]]
    else:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    return sorted(rows, key=lambda row: row["property_id"])


def ids(folder: Path) -> set[str]:
    return {str(row["property_id"]) for row in rows_of(folder, "csv")}


def export(database: Database, out: Path, request: ExportRequest, kind: str = "csv") -> Path:
    export_county(database.engine, COUNTY, out, kind, request=request)
    return out


@pytest.mark.parametrize("kind", SUFFIX)
def test_own_columns_are_text_in_every_format(
    database: Database, tmp_path: Path, kind: str
) -> None:
    load(
        database, tmp_path / "leads.csv",
        f"Zone,ID,State,APN,Lon,Lat,Note,Due\n007,{LONG_ID},TN,0042,-90,35,=1+1,2024-05-01\n"
        ",b,,,-90,35,,\n",
    )  # fmt: skip
    with database.engine.begin() as conn:
        loading.load(conn, KEY, [next(iter(read_properties(tmp_path / "leads.csv").properties))])
    load(database, tmp_path / "more.csv", "id,lon,lat,Zone\nc,-90,35,8\n")
    folder = export(database, tmp_path / "out", ExportRequest(), kind)
    one, blank, other = rows_of(folder, kind)
    own = ["Zone", "own_State", "Note", "Due"]
    assert [name for name in one if name in own] == own, "in the order of the file"
    guarded = "'=1+1" if kind == "csv" else "=1+1"
    assert [one[name] for name in own] == ["007", "TN", guarded, "2024-05-01"]
    assert (one["property_id"], one["parcel_id"], one["state"]) == (LONG_ID, "0042", "pending")
    assert [blank[name] for name in own] == ["", "", "", ""]
    missing = "" if kind == "csv" else None
    assert [other[name] for name in own] == ["8", missing, missing, missing]

    readme = (folder / "README.md").read_text()
    assert "`State` is called `own_State`" in readme
    dictionary = (folder / "DATA_DICTIONARY.md").read_text()
    assert "| `own_State` | text |  | The column State of the properties CSV" in dictionary
    assert "Filled in for 2 properties, blank for 1" in dictionary


def test_the_errors_file_is_a_properties_file_with_the_own_columns(
    database: Database, tmp_path: Path
) -> None:
    load(database, tmp_path / "leads.csv", 'ID,State,Lon,Lat,Note\na,TN,-90,35,"x\n, y"\n')
    errors = export(database, tmp_path / "out", ExportRequest()) / "errors.csv"
    [row] = [row for row in read_rows(errors) if isinstance(row, tuple)]
    assert dict(row.own) == {"own_State": "TN", "Note": "x\n, y"}
    load(database, tmp_path / "again.csv", errors.read_text())
    [row] = rows_of(export(database, tmp_path / "out", ExportRequest()), "csv")
    assert (row["own_State"], row["state"]) == ("TN", "pending")


def test_a_list_has_its_own_rows_and_columns(database: Database, tmp_path: Path) -> None:
    first = load(
        database, tmp_path / "a.csv", "id,lon,lat,Zone,Owner\na,-90,35,1,Ann\nb,-90,35,2,\n"
    )
    second = load(database, tmp_path / "b.csv", "id,lon,lat,Note\nb,-90,35,hi\nc,-90,35,\n")
    folder = export(database, tmp_path / "1", ExportRequest(properties=first))
    assert ids(folder) == {"a", "b"}
    assert {"Zone", "Owner"} <= rows_of(folder, "csv")[0].keys()
    assert "Note" not in rows_of(folder, "csv")[0]
    assert "only properties of `a.csv`" in (folder / "README.md").read_text()
    folder = export(database, tmp_path / "2", ExportRequest(properties=second))
    assert ids(folder) == {"b", "c"}
    assert "Zone" not in rows_of(folder, "csv")[0]
    first.write_text("id,lon,lat\nz,-90,35\n")
    with pytest.raises(ExportError, match=r"no batch of Little County has loaded .*--properties"):
        export(database, tmp_path / "3", ExportRequest(properties=first))
    assert not (tmp_path / "3").exists()


def test_other_own_values_reload_the_earlier_list(database: Database, tmp_path: Path) -> None:
    first = load(database, tmp_path / "a.csv", "id,lon,lat,Zone\na,-90,35,1\n")
    load(database, tmp_path / "b.csv", "id,lon,lat,Zone\na,-90,35,2\n")
    with database.engine.begin() as conn:
        assert loading.current_list(conn, KEY, file_sha256(first)) is None
        states = conn.execute(text("SELECT state, attempts FROM lotline.property")).all()
    assert states == [("pending", 0)]
    [row] = rows_of(export(database, tmp_path / "out", ExportRequest()), "csv")
    assert row["Zone"] == "2"


def test_a_box_may_cross_longitude_180(database: Database, tmp_path: Path) -> None:
    load(
        database, tmp_path / "a.csv",
        "id,lon,lat\nwest,179.9,-17\neast,-179.9,-17\nfar,178,-17\nnorth,179.9,-10\n",
    )  # fmt: skip
    across = ExportRequest(bbox=(179.5, -18, -179.5, -16))
    assert ids(export(database, tmp_path / "1", across)) == {"west", "east"}
    plain = ExportRequest(bbox=(177, -18, 179.95, -16))
    assert ids(export(database, tmp_path / "2", plain)) == {"west", "far"}
    with pytest.raises(ExportError, match="Little County has no property in the box 0,0,1,1"):
        export(database, tmp_path / "3", ExportRequest(bbox=(0, 0, 1, 1)))


def test_a_run_has_the_properties_that_it_processed_last(
    database: Database, tmp_path: Path
) -> None:
    load(database, tmp_path / "a.csv", "id,lon,lat\na,-90,35\nb,-90,35\nc,-90,35\n")
    with database.engine.begin() as conn:
        counts = '{"counts": [{"state": "failed", "reason": "", "properties": 3}]}'
        runs = [
            conn.execute(
                text(
                    "INSERT INTO lotline.run (county, settings, segmenter, state, results) "
                    "VALUES (:county, '{}', 'spectral-1', 'finished', CAST(:results AS jsonb)) "
                    "RETURNING id"
                ),
                {"county": county, "results": counts},
            ).scalar_one()
            for county in (KEY, KEY, "another")
        ]
        for run, names in zip(runs[:2], (["a", "c"], ["b"]), strict=True):
            conn.execute(
                text(
                    "UPDATE lotline.property SET run_fk = :run, state = 'failed' "
                    "WHERE property_id = ANY(:names)"
                ),
                {"run": run, "names": names},
            )
    folder = export(database, tmp_path / "1", ExportRequest(run_id=runs[0]))
    assert ids(folder) == {"a", "c"}
    readme = (folder / "README.md").read_text()
    assert f"of run {runs[0]} (1 property of it that a later run has processed" in readme
    assert "| failed |  | 2 |" in readme
    with pytest.raises(ExportError, match="is of the county another"):
        export(database, tmp_path / "2", ExportRequest(run_id=runs[2]))
