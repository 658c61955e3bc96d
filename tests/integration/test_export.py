"""A county's export: complete, consistent and documented."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
from bigcounty import LABELS, LOT_DEG, SOUTH, WEST, create_county
from exports import check_geoparquet, intersecting, row_groups
from sqlalchemy import event, text

from parcels import County
from pipeline.errors import ExportError
from pipeline.export import export_county, geoparquet
from pipeline.export.export_folder import README
from pipeline.export.manifest import MANIFEST
from pipeline.properties_csv import read_properties
from pipeline.store.database import Database
from pipeline.store.reads import row_cursors
from pipeline.store.reads.county_status import county_status

KEY = "synthetic"
LOTS = 400  # of which 4 failed and 8 lie in a circle
COUNTY = County(
    key=KEY,
    name="Synthetic County",
    url="https://gis.example.gov/arcgis/rest/services/Parcels/MapServer",
    layer=0,
)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.engine.connect() as conn:
        create_county(conn, KEY, LOTS, corners=8)
    return database


def read(path: Path) -> Any:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return (geopandas.read_parquet if path.suffix == ".parquet" else geopandas.read_file)(path)


def files_in(folder: Path) -> set[str]:
    """The files of a folder, without the manifest."""
    return {path.name for path in folder.iterdir()} - {MANIFEST}


SUFFIX = {"geoparquet": ".parquet", "geojson": ".geojson", "csv": ".csv"}


@pytest.mark.parametrize("kind", SUFFIX)
def test_every_format_is_complete_and_listed_in_the_readme(
    filled: Database, tmp_path: Path, kind: str
) -> None:
    written = export_county(filled.engine, COUNTY, tmp_path, kind)
    tables = [*(f"detections_{label}" for label in sorted(LABELS)), "properties"]
    names = [f"{table}{SUFFIX[kind]}" for table in tables] + ["errors.csv"]
    assert [path.name for path in written] == [*names, "DATA_DICTIONARY.md", README]
    assert files_in(tmp_path) == {path.name for path in written}

    documented = (tmp_path / README).read_text()
    for path, count in written.items():
        if count is None:
            continue
        assert len(read(path)) == count
        assert f"| `{path.name}` |" in documented
        assert f"| {count:,} | {path.stat().st_size:,} |" in documented
    assert {count for path, count in written.items() if "detections" in path.name} == {LOTS - 4}
    assert (written[tmp_path / names[-2]], written[tmp_path / "errors.csv"]) == (LOTS, 4)


def columns_of(path: Path) -> list[str]:
    """The columns of a file, in its order."""
    if path.suffix == ".parquet":
        return list(pq.read_schema(path).names)
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return next(csv.reader(file))
    first = json.loads(path.read_text())["features"][0]
    return [*first["properties"], "geometry"]


def in_dictionary(path: Path) -> dict[str, list[str]]:
    """The columns of each file, as the data dictionary lists them."""
    found = {}
    for part in path.read_text().split("\n## ")[1:]:
        names, _, rest = part.partition("\n")
        columns = re.findall(r"^\| `(.+?)` \| (?:\w+) \| .* \| .+ \|$", rest, re.MULTILINE)
        found |= dict.fromkeys(names.split(", "), columns)
    return found


@pytest.mark.parametrize("kind", SUFFIX)
def test_the_data_dictionary_matches_the_columns_of_the_files(
    filled: Database, tmp_path: Path, kind: str
) -> None:
    written = export_county(filled.engine, COUNTY, tmp_path, kind)
    documented = in_dictionary(tmp_path / "DATA_DICTIONARY.md")
    tables = [path for path, count in written.items() if count is not None]
    assert {path.name: columns_of(path) for path in tables} == documented


@pytest.mark.parametrize("kind", SUFFIX)
def test_the_code_of_the_readme_works(
    filled: Database,
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export_county(filled.engine, COUNTY, tmp_path, kind)
    monkeypatch.chdir(tmp_path)
    documented = Path(README).read_text()
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.+?)```", documented, re.DOTALL):
        exec(code, names)
    shown = capsys.readouterr().out
    lawns = names["done"].groupby("source")["lawn_m2"].sum()
    assert (
        f"| lawn | lot | full | synthetic | {lots(names)} | {lots(names)} | {lawns['lot']:,.1f} |"
        in documented
    )
    assert "buffer_30m" in shown
    assert "lawn_m2" in shown
    if kind == "geoparquet":
        assert len(names["part"]) == names["properties"].geometry.notna().sum()


def lots(names: dict[str, Any]) -> int:
    return int((names["done"]["source"] == "lot").sum())


def test_geoparquet_is_as_specified_and_lies_along_a_curve(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoparquet, "GROUP_BYTES", 1)  # a row group for each chunk that is read
    monkeypatch.setattr(row_cursors.detection_columns, "__defaults__", (None, 25))
    monkeypatch.setattr(row_cursors.property_columns, "__defaults__", (25,))
    written = export_county(filled.engine, COUNTY, tmp_path, "geoparquet")
    paths = [path for path in written if path.suffix == ".parquet"]
    for path in paths:
        check_geoparquet(path)
        assert len(row_groups(path)) >= 15
        # 400 lots of 20 x 20: a window of 5 x 5 in the middle.
    window = tuple(
        edge + LOT_DEG * lots for edge, lots in zip((WEST, SOUTH) * 2, (8, 0, 12, 1), strict=True)
    )
    for path in paths:
        assert 1 <= len(intersecting(path, *window)) <= len(row_groups(path)) / 3, path
        frame = geopandas.read_parquet(path)
        inside = geopandas.read_parquet(path, bbox=window)
        assert len(inside) == int(frame.cx[window[0] : window[2], window[1] : window[3]].shape[0])


def test_the_roll_up_adds_up_to_what_the_readme_says_and_never_mixes_sources(
    filled: Database, tmp_path: Path
) -> None:
    export_county(filled.engine, COUNTY, tmp_path, "geoparquet")
    properties = geopandas.read_parquet(tmp_path / "properties.parquet")
    documented = (tmp_path / README).read_text()
    assert set(properties["source"].dropna()) == {"lot", "buffer_30m"}
    for label in LABELS:
        detections = geopandas.read_parquet(tmp_path / f"detections_{label}.parquet")
        assert set(detections["label"]) == {label}
        one = detections.set_index("property_id")["area_m2"]
        rolled = properties.set_index("property_id")[f"{label}_m2"].dropna()
        pd.testing.assert_series_equal(
            one.sort_index(), rolled.sort_index(), check_names=False, check_exact=True
        )
        assert properties[f"{label}_count"].sum() == len(detections)
        for source, of_source in properties.groupby("source"):
            area_m2, area_sqft = of_source[f"{label}_m2"].sum(), of_source[f"{label}_sqft"].sum()
            assert area_sqft == pytest.approx(area_m2 * 10.7639104, rel=1e-8)
            assert (
                f"| {label} | {source} | full | synthetic | {len(of_source):,} | "
                f"{len(of_source):,} | "
                f"{area_m2:,.1f} | {area_sqft:,.0f} |"
            ) in documented
    everything = sum(properties[f"{label}_m2"].sum() for label in LABELS)
    assert f"{everything:,.1f}" not in documented


def test_errors_have_their_reason_and_can_be_given_to_the_next_batch(
    filled: Database, tmp_path: Path
) -> None:
    with filled.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE lotline.property SET state = 'deferred', reason = 'unavailable', "
                "detail = '=HYPERLINK(1)' WHERE property_id = 'lot-7'"
            )
        )
    export_county(filled.engine, COUNTY, tmp_path, "geojson")
    with (tmp_path / "errors.csv").open(newline="") as file:
        found = {row["property_id"]: row for row in csv.DictReader(file)}
    assert len(found) == 5
    assert found["lot-7"]["state"] == "deferred"
    assert found["lot-7"]["detail"] == "'=HYPERLINK(1)"
    assert {row["reason"] for row in found.values()} == {"not_found", "unavailable"}
    again = read_properties(tmp_path / "errors.csv")
    assert not again.bad_rows
    assert {prop.property_id for prop in again.properties} == set(found)
    assert {prop.address for prop in again.properties} == {r["address"] for r in found.values()}


def test_odd_ids_come_back_from_the_errors_file_as_they_were(
    filled: Database, tmp_path: Path
) -> None:
    odd = ["=A1", "-12-B", "'=A1", "''@home", "+1 901 555", "'plain", "-90.05", 'a "b", c']
    with filled.engine.begin() as conn:
        for number, name in enumerate(odd):
            conn.execute(
                text("UPDATE lotline.property SET property_id = :name, address = :name, "
                     "parcel_id = :name, state = 'failed' WHERE property_id = :old"),
                {"name": name, "old": f"lot-{number + 1}"},
            )  # fmt: skip
    export_county(filled.engine, COUNTY, tmp_path, "csv")
    again = read_properties(tmp_path / "errors.csv")
    assert not again.bad_rows
    for column in ("property_id", "address", "parcel_id"):
        assert {getattr(prop, column) for prop in again.properties} >= set(odd)
    first = (tmp_path / "errors.csv").read_text().splitlines()
    assert not [line for line in first if line[0] in "=+@" or line.startswith("-12")]


def test_an_export_is_a_snapshot_while_a_batch_writes(filled: Database, tmp_path: Path) -> None:
    changed = []

    def batch_writes(done: int, total: int) -> None:
        if changed:
            return
        with filled.engine.begin() as conn:
            changed.append(conn.execute(text(
                "UPDATE lotline.detection SET state = 'superseded' WHERE label <> 'lawn'"
            )).rowcount)  # fmt: skip
            conn.execute(text("UPDATE lotline.measurement SET area_m2 = 0"))
            conn.execute(text("UPDATE lotline.property SET state = 'pending'"))

    export_county(filled.engine, COUNTY, tmp_path, "geoparquet", batch_writes)
    assert changed == [3 * (LOTS - 4)]
    for label in LABELS:
        assert len(geopandas.read_parquet(tmp_path / f"detections_{label}.parquet")) == LOTS - 4
    properties = geopandas.read_parquet(tmp_path / "properties.parquet")
    assert set(properties["state"]) == {"done", "failed"}
    assert (properties["pool_m2"].dropna() > 0).all()
    with filled.engine.connect() as conn:
        assert county_status(conn, KEY).by_state == {("pending", "measured"): LOTS - 4,
                                                     ("pending", "not_found"): 4}  # fmt: skip


def test_rows_stream_through_server_side_cursors_in_one_transaction(
    filled: Database, tmp_path: Path
) -> None:
    cursors: list[tuple[str, str]] = []
    begun: list[str] = []

    def after(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        cursors.append((statement.split("FROM", maxsplit=1)[0], type(cursor).__name__))

    event.listen(filled.engine, "after_cursor_execute", after)
    event.listen(filled.engine, "begin", lambda conn: begun.append(conn.get_isolation_level()))
    export_county(filled.engine, COUNTY, tmp_path, "csv")
    streamed = [what for what, cursor in cursors if cursor == "ServerCursor"]
    assert len(streamed) == 4, "the totals, and a cursor for each table"
    assert "property_fk" in streamed[0]
    assert all("property_id" in what for what in streamed[1:])
    assert begun == ["REPEATABLE READ"]


def test_labels_without_detections_have_an_empty_file(filled: Database, tmp_path: Path) -> None:
    with filled.engine.begin() as conn:
        conn.execute(text("UPDATE lotline.detection SET state = 'superseded' WHERE label = 'pool'"))
        conn.execute(text("UPDATE lotline.measurement SET area_m2 = 0, detection_count = 0 "
                          "WHERE label = 'pool'"))  # fmt: skip
        conn.execute(text("UPDATE lotline.detection SET label = 'roof/../solar +1' "
                          "WHERE label = 'roof'"))  # fmt: skip
    for kind, suffix in SUFFIX.items():
        out = tmp_path / kind
        written = export_county(filled.engine, COUNTY, out, kind)
        assert written[out / f"detections_pool{suffix}"] == 0
        # A free-text label cannot escape the folder.
        odd = out / f"detections_roof%2F..%2Fsolar%20%2B1{suffix}"
        assert written[odd] == LOTS - 4
        assert set(read(odd)["label"]) == {"roof/../solar +1"}
        assert len(read(out / f"detections_pool{suffix}")) == 0
        columns = read(out / f"properties{suffix}")
        assert columns["pool_m2"].sum() == 0
        assert columns["pool_m2"].notna().sum() == LOTS - 4
    assert pyogrio.read_info(tmp_path / "geojson" / "detections_pool.geojson")["features"] == 0


def rename(database: Database, labels: dict[str, str]) -> None:
    with database.engine.begin() as conn:
        for table in ("detection", "measurement"):
            for old, new in labels.items():
                conn.execute(
                    text(f"UPDATE lotline.{table} SET label = :new WHERE label = :old"),
                    {"old": old, "new": new},
                )


def test_labels_that_clash_with_a_column_or_file_are_numbered(
    filled: Database, tmp_path: Path
) -> None:
    """A label may be any text; some file systems ignore its case."""
    odd = {"lawn": "boundary_area", "tree": "properties", "roof": "Pool"}
    rename(filled, odd)
    for kind, suffix in SUFFIX.items():
        out = tmp_path / kind
        written = export_county(filled.engine, COUNTY, out, kind)
        names = [path.name for path in written]
        assert len({name.casefold() for name in names}) == len(names)
        rolled = read(out / f"properties{suffix}")
        assert len({column.casefold() for column in rolled.columns}) == len(rolled.columns)
        files = {
            "boundary_area": ("boundary_area", "boundary_area_2"),
            "properties": ("properties", "properties"),
            "Pool": ("Pool", "Pool"),
            "pool": ("pool_2", "pool_2"),
        }
        for label, (file, column) in files.items():
            frame = read(out / f"detections_{file}{suffix}")
            assert set(frame["label"]) == {label}
            assert rolled[f"{column}_m2"].sum() == pytest.approx(frame["area_m2"].sum())
            assert rolled[f"{column}_count"].sum() == len(frame)
        assert rolled["boundary_area_m2"].sum() > 5 * rolled["boundary_area_2_m2"].sum()
        assert len(rolled) == LOTS
        documented = in_dictionary(out / "DATA_DICTIONARY.md")
        assert documented[f"properties{suffix}"] == columns_of(out / f"properties{suffix}")
        meaning = (out / "DATA_DICTIONARY.md").read_text()
        assert "| `boundary_area_2_m2` | number | m² | Measured area of boundary_area on" in meaning


def test_a_long_label_and_one_that_would_break_a_markdown_table(
    filled: Database, tmp_path: Path
) -> None:
    long = "屋" * 90  # percent-encoded as nine characters each
    jinja = "{{ 7*7 }} {% raw %}"
    rename(filled, {"lawn": long, "tree": f"{long}根", "roof": "a | b\nc", "pool": jinja})
    written = export_county(filled.engine, COUNTY, tmp_path, "csv")
    for path in written:
        if path.name.startswith("detections_"):
            assert len(set(read(path)["label"])) == 1
    documented = (tmp_path / README).read_text()
    assert "| one row per polygon of a \\| b c |" in documented
    assert f"| one row per polygon of {jinja} |" in documented
    assert f"Measured area of {jinja} on" in (tmp_path / "DATA_DICTIONARY.md").read_text()


def test_the_properties_table_lists_segmenters(filled: Database, tmp_path: Path) -> None:
    with filled.engine.begin() as conn:
        ids = list(conn.execute(text("SELECT id FROM lotline.property WHERE state = 'done' "
                                     "ORDER BY id LIMIT 3")).scalars())  # fmt: skip
        found = text("UPDATE lotline.detection SET segmenter = :by WHERE property_fk = :id "
                     "AND label = :label")  # fmt: skip
        conn.execute(found, {"by": "person", "id": ids[0], "label": "pool"})
        conn.execute(found, {"by": "sam3-tiny-1", "id": ids[1], "label": "pool"})
        gone = text("UPDATE lotline.detection SET state = 'superseded' WHERE property_fk = :id")
        conn.execute(gone, {"id": ids[2]})
        name = text("SELECT property_id FROM lotline.property WHERE id = :id")
        names = [conn.execute(name, {"id": each}).scalar_one() for each in ids]
    export_county(filled.engine, COUNTY, tmp_path, "geoparquet")
    rolled = geopandas.read_parquet(tmp_path / "properties.parquet").set_index("property_id")
    assert [rolled.loc[name, "segmenters"] for name in names] == [
        "person;synthetic", "sam3-tiny-1;synthetic", "synthetic",
    ]  # fmt: skip
    failed = rolled[rolled["state"] == "failed"]
    assert failed["segmenters"].isna().all()
    assert "| lawn | lot | full | synthetic | " in (tmp_path / README).read_text()


def test_an_interrupted_export_leaves_no_readme_and_the_next_one_is_complete(
    filled: Database, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_county(filled.engine, COUNTY, tmp_path / "out", "geoparquet", stop)
    assert list((tmp_path / "out").iterdir()) == []
    reached: list[tuple[int, int]] = []
    written = export_county(
        filled.engine, COUNTY, tmp_path / "out", "geoparquet", lambda *at: reached.append(at)
    )
    assert (tmp_path / "out" / README) in written
    assert reached[-1] == (reached[-1][1],) * 2, "all rows are reported"
    assert reached[-1][0] == sum(count or 0 for count in written.values())


def test_a_lost_database_connection_leaves_no_readme(filled: Database, tmp_path: Path) -> None:
    def restart(done: int, total: int) -> None:
        with filled.engine.connect() as conn:
            conn.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    with pytest.raises(ExportError, match=r"the database failed during the export.*export again"):
        export_county(filled.engine, COUNTY, tmp_path / "out", "csv", restart)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_county_without_properties_creates_no_folder(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nothing to export\. Run `lotline batch` first"):
        export_county(database.engine, COUNTY, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


def test_caveats_are_in_every_format(filled: Database, tmp_path: Path) -> None:
    """What the segmenter is goes with the rows, and with the metadata of each file."""
    with filled.engine.begin() as conn:
        for table in ("detection", "measurement"):
            conn.execute(text(f"UPDATE lotline.{table} SET segmenter = 'spectral-2'"))
        for label, prompt in (("roof", "my roof"), ("pool", "swimming pool")):
            conn.execute(
                text("UPDATE lotline.detection SET prompt = :prompt WHERE label = :label"),
                {"label": label, "prompt": prompt},
            )
    caveat = "a baseline without weights: colour and texture only, not SAM3"
    for kind, suffix in SUFFIX.items():
        export_county(filled.engine, COUNTY, tmp_path / kind, kind)
        for name in (README, "DATA_DICTIONARY.md"):
            assert caveat in (tmp_path / kind / name).read_text()
        file = tmp_path / kind / f"properties{suffix}"
        if kind == "csv":
            rows: Any = pd.read_csv(file)
        elif kind == "geojson":
            rows = geopandas.read_file(file)
            assert caveat in json.loads(file.read_text())["caveats"][0]
        else:
            rows = geopandas.read_parquet(file)
            metadata = pq.ParquetFile(file).metadata.metadata[b"lotline"]
            assert caveat in json.loads(metadata)["caveats"][0]
        done = rows[rows["state"] == "done"]
        assert done["caveats"].str.contains(f"spectral-2: {caveat}", regex=False).all()
        assert rows[rows["state"] == "failed"]["caveats"].isna().all()
    roofs = pd.read_csv(tmp_path / "csv" / "detections_roof.csv")
    assert roofs["caveats"].str.endswith("whose accuracy is untested").all()
    pools = pd.read_csv(tmp_path / "csv" / "detections_pool.csv")
    assert (pools["caveats"] == caveat).all()
