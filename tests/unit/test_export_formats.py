"""Tables as files: each format round-trips, and common readers read it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import geopandas
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from exports import TABLE, check_geoparquet, intersecting, places, row_groups, squares
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export import geoparquet
from pipeline.export.csv_format import write_csv
from pipeline.export.formats import FORMATS
from pipeline.export.geoparquet import write_geoparquet
from pipeline.formula_guard import escape_formula
from pipeline.store.reads.row_cursors import ColumnArrays

EMPTY = places([], [])
HOLED = shapely.MultiPolygon(
    [
        shapely.Polygon(
            [(0, 0), (0, 9), (9, 9), (9, 0)], [[(1, 1), (2, 1), (2, 2), (1, 2)]]
        ),  # clockwise, as Esri's are
        shapely.box(20, 20, 20 + 1 / 3, 21),
    ]
)
ODD = places(['a "quoted", name\nof 2 lines', "=1+1", None, "é ☃ 屋"], [HOLED, None, HOLED, HOLED])


def write(folder: Path, kind: str, *chunks: ColumnArrays) -> Path:
    path = folder / f"places{FORMATS[kind].suffix}"
    with path.open("wb") as file:
        FORMATS[kind].write(file, TABLE, chunks)
        assert not file.closed
    return path


@pytest.mark.parametrize("kind", ["geoparquet", "geojson"])
def test_geometry_and_text_round_trip(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, ODD, squares(3))
    read = geopandas.read_parquet if kind == "geoparquet" else geopandas.read_file
    frame = read(path)
    assert frame.crs.to_epsg() == 4326
    assert frame["name"].dropna().tolist() == [*filter(None, ODD["name"]), "s0", "s1", "s2"]
    assert frame["name"].isna()[2]
    assert frame.geometry.isna().tolist() == [False, True, False, False, False, False, False]
    assert frame.geometry[0].equals_exact(HOLED, 1e-9, normalize=True)
    assert set(frame["synthetic"]) == {True}


@pytest.mark.parametrize("kind", ["geoparquet", "geojson", "csv"])
@pytest.mark.parametrize("chunks", [[], [EMPTY]], ids=["no chunk", "an empty one"])
def test_a_table_without_rows_has_its_columns(
    tmp_path: Path, kind: str, chunks: list[ColumnArrays]
) -> None:
    path = write(tmp_path, kind, *chunks)
    if kind == "geoparquet":
        assert "bbox" not in check_geoparquet(path)
        assert list(geopandas.read_parquet(path).columns)[: len(EMPTY)] == list(EMPTY)
    elif kind == "geojson":
        assert json.loads(path.read_text())["features"] == []
        assert len(geopandas.read_file(path)) == 0
    else:
        assert path.read_text() == "name,number,area_m2,synthetic\n"


def test_geoparquet_follows_the_specification_and_is_lossless(tmp_path: Path) -> None:
    path = write(tmp_path, "geoparquet", ODD, squares(10))
    metadata = check_geoparquet(path)
    assert metadata["bbox"] == [-90, 0, 20 + 1 / 3, 35.01]
    table = pq.read_table(path)
    assert table["geometry"].to_pylist() == ODD["geometry"] + squares(10)["geometry"]
    assert [str(table.schema.field(name).type) for name in EMPTY] == [
        "string", "int64", "double", "bool", "binary",
    ]  # fmt: skip


def test_geoparquet_without_geometry_has_no_bbox(tmp_path: Path) -> None:
    path = write(tmp_path, "geoparquet", places(["a", "b"], [None, None]))
    assert "bbox" not in check_geoparquet(path)
    assert geopandas.read_parquet(path).geometry.isna().all()


def test_readers_skip_row_groups_outside_the_window(tmp_path: Path) -> None:
    path = tmp_path / "places.parquet"
    with path.open("wb") as file:
        write_geoparquet(file, TABLE, (squares(50, i * 50) for i in range(20)), group_rows=100)
    assert [group["rows"] for group in row_groups(path)] == [100] * 10
    window = (-89.7495, 35, -89.7005, 35.01)
    assert intersecting(path, *window) == [2]
    inside = geopandas.read_parquet(path, bbox=window)
    assert inside["name"].tolist() == [f"s{i}" for i in range(250, 300)]
    # pyarrow prunes by the statistics of `bbox` before it reads anything.
    [fragment] = ds.dataset(path).get_fragments()
    near = (pc.field("bbox", "xmin") <= window[2]) & (pc.field("bbox", "xmax") >= window[0])
    assert [group.id for group in fragment.subset(near).row_groups] == [2]


def test_row_groups_end_early_for_large_geometries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoparquet, "GROUP_BYTES", 10_000)
    ring = shapely.MultiPolygon([shapely.Point(0, 0).buffer(1, 250)])
    assert len(shapely.to_wkb(ring)) > 10_000
    path = write(tmp_path, "geoparquet", *[places(["a"], [ring])] * 3)
    assert [group["rows"] for group in row_groups(path)] == [1, 1, 1]


def test_a_chunk_larger_than_a_row_group_is_split(tmp_path: Path) -> None:
    path = tmp_path / "places.parquet"
    with path.open("wb") as file:
        write_geoparquet(file, TABLE, [squares(250)], group_rows=100)
    assert [group["rows"] for group in row_groups(path)] == [100, 100, 50]
    assert geoparquet.GROUP_ROWS <= 65_536


def test_a_failed_writer_leaves_nothing_open(tmp_path: Path) -> None:
    """Warnings are errors here; writing a footer during garbage collection would raise one."""

    def broken() -> Iterator[ColumnArrays]:
        yield squares(3)
        raise KeyboardInterrupt

    for kind in FORMATS:
        with pytest.raises(KeyboardInterrupt), (tmp_path / kind).open("wb") as file:
            FORMATS[kind].write(file, TABLE, broken())


def test_geojson_follows_the_rfc(tmp_path: Path) -> None:
    path = write(tmp_path, "geojson", ODD, squares(2))
    collection = json.loads(path.read_bytes())
    assert collection["type"] == "FeatureCollection"
    assert len(path.read_text().splitlines()) == 2 + 6
    first, second, *_ = collection["features"]
    assert first["type"] == "Feature"
    assert second["geometry"] is None
    outer, hole = first["geometry"]["coordinates"][0]
    assert shapely.is_ccw(shapely.LinearRing(outer))
    assert not shapely.is_ccw(shapely.LinearRing(hole))
    assert max(max(ring) for ring in first["geometry"]["coordinates"][1][0]) == 21
    assert 20.333333333 in [x for x, _ in first["geometry"]["coordinates"][1][0]]
    info = pyogrio.read_info(path)
    assert info["features"] == 6
    assert info["geometry_type"] == "MultiPolygon"
    assert info["layer_name"] == "places"


def test_csv_text_is_never_a_formula_and_numbers_are_unchanged(tmp_path: Path) -> None:
    texts = ["=1+1", "+12 Oak", "-cmd", "@sum", "\t=1", "\n=1", "-90.05", "+12", "a=b", "", None]
    texts += ["\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20sum", " =1+1", "\u3000\uff1d1"]
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        write_csv(file, TABLE, [places(texts, [None] * len(texts))])
    with path.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["name"] for row in rows] == [
        "'=1+1", "'+12 Oak", "'-cmd", "'@sum", "'\t=1", "'\n=1", "-90.05", "+12", "a=b", "", "",
        "'\uff1d1+1", "'\uff0b1", "'\uff0d1", "'\uff20sum", "' =1+1", "'\u3000\uff1d1",
    ]  # fmt: skip
    assert "geometry" not in rows[0]
    assert (rows[3]["number"], rows[3]["area_m2"], rows[3]["synthetic"]) == ("3", "1.5", "True")


@given(st.text())
def test_only_numbers_may_start_like_a_formula(text: str) -> None:
    shown = escape_formula(text) or ""
    shown = shown if shown.startswith(("\t", "\r", "\n")) else shown.lstrip()
    if shown.startswith(("=", "@", "\t", "\r", "\n")):
        pytest.fail(f"{shown!r} would be run")
    if shown.startswith(("+", "-")):
        float(shown)
    assert escape_formula(text) in {text, f"'{text}"}
