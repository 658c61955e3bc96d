"""A large file gets one snapshot in the cache, which returns the same rows as the file."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Thread

import geopandas as gpd
import pytest
import shapely
from shapely import Point, Polygon, box
from sqlalchemy import text

from parcels import Boundary, County, ParcelBoundaryService, Property, load_registry
from parcels.addresses.street_address import parse_address
from parcels.cache import ParcelCache
from parcels.cache.file_snapshot import SnapshotFile, snapshot_file
from parcels.errors import CacheError, GeometryError, ParcelsError, SourceMisconfigured
from parcels.files import FileSource
from pipeline.batch.enqueue import enqueue
from pipeline.batch.request import BatchRequest, NoProgress
from pipeline.open_county import OpenCounty
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache

WEST, SOUTH, STEP = -90.0, 35.0, 0.001
BOWTIE = Polygon([(-89.99, 35.01), (-89.98, 35.02), (-89.98, 35.01), (-89.99, 35.02)])


def _county(path: Path, **more: object) -> County:
    return County.model_validate({"key": "here", "path": str(path), **more})


def _lots(count: int) -> list[Polygon]:
    return [
        box(WEST + i * STEP, SOUTH, WEST + (i + 0.8) * STEP, SOUTH + STEP) for i in range(count)
    ]


def _inside(number: int) -> Point:
    return Point(WEST + (number + 0.4) * STEP, SOUTH + STEP / 2)


def _frame(count: int = 12) -> gpd.GeoDataFrame:
    """Synthetic lots with the problems of real files: no id, no number, a stack, a bow tie."""
    lots = [*_lots(count), _lots(count)[2], BOWTIE, None, Polygon()]
    n = len(lots)
    ids = [f"0{i}  A" for i in range(n)]
    ids[3], ids[4] = "", ids[5]
    numbers = [100.0 + 2 * i for i in range(n)]
    numbers[6] = None
    return gpd.GeoDataFrame(
        {
            "APN": ids,
            "No": numbers,
            "Dir": ["N" if i % 2 else " " for i in range(n)],
            "Name": ["O'BRIEN ST"] * n,
            "owner": ["x"] * n,
            "Block": [i // 4 for i in range(n)],
        },
        geometry=lots,
        crs="EPSG:4326",
    )


ADDRESSES = {"parcel_id": "apn", "house_number": "no", "street": ["dir", "name"]}
ASKED = [parse_address(a) for a in ("104 OBrien St", "102 N O'Brien St", "1 Main St", "126 OBrien")]


def _write(frame: gpd.GeoDataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=5)
    else:
        frame.to_file(path)


def _said(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except ParcelsError as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    ("name", "crs", "more"),
    [
        ("lots.gpkg", 4326, {"fields": ADDRESSES}),
        ("lots.gpkg", 2274, {"fields": ADDRESSES, "where": "Block < 2"}),
        ("lots.gpkg", 3857, {}),
        ("lots.gpkg", 4326, {"fields": {"parcel_id": "Block"}}),
        ("lots.parquet", 4326, {"fields": ADDRESSES}),
        ("lots.parquet", 26916, {"fields": {"parcel_id": "No"}}),
        ("lots.shp", 4326, {"fields": ADDRESSES}),
        ("lots.geojson", 4326, {"fields": ADDRESSES}),
        ("nameless.fgb", 4326, {}),
    ],
)
def test_a_file_snapshot_returns_the_same_rows_as_the_file(
    tmp_path: Path, cache: ParcelCache, name: str, crs: int, more: dict[str, object]
) -> None:
    frame = _frame().to_crs(crs)
    if name == "nameless.fgb":
        frame = frame.drop(columns="APN").iloc[:-2]
    _write(frame, tmp_path / name)
    county = _county(tmp_path / name, **more)
    file, copy = FileSource(county), snapshot_file(county, cache, min_rows=1)
    assert copy is not None
    copy.check()
    assert copy.extent() == file.extent()
    assert list(copy.all_rows()) == list(file.all_rows())
    middle = shapely.Point(-89.985, 35.012)
    corner = Point(WEST, SOUTH)
    points = [_inside(0), _inside(2), _inside(40), corner, middle, *map(_inside, range(3, 12))]
    assert copy.at_points(points) == file.at_points(points)
    for distance_m in (0.5, 30.0, 200.0):
        near = copy.near_points(points, distance_m), file.near_points(points, distance_m)
        assert near[0] == near[1]
    for ids in (["00  A", "05  A", "00 A", "014  A", "1", "2", "106"], ["none"], []):
        queries = partial(copy.with_ids, ids), partial(file.with_ids, ids)
        assert _said(queries[0]) == _said(queries[1])
    assert _said(lambda: copy.with_addresses(ASKED)) == _said(lambda: file.with_addresses(ASKED))


@pytest.mark.parametrize(
    ("name", "more", "error"),
    [
        ("text.gpkg", {}, "cannot be read as parcels"),
        ("text.parquet", {}, "cannot be read as parcels"),
        (
            "lots.gpkg",
            {"fields": {"parcel_id": "lot"}},
            "'lot' does not exist; the columns are APN",
        ),
        ("lots.gpkg", {"where": "APN = 'none'"}, "check 'path' and 'where'"),
        ("lots.parquet", {"where": "APN = 'none'"}, "'where' does not work with GeoParquet"),
        ("none.gpkg", {}, "no such file; correct 'path'"),
    ],
)
def test_an_unusable_file_raises_the_same_error(
    tmp_path: Path, database: Database, name: str, more: dict[str, object], error: str
) -> None:
    for path in (tmp_path / "lots.gpkg", tmp_path / "lots.parquet"):
        _write(_frame(), path)
    for path in (tmp_path / "text.gpkg", tmp_path / "text.parquet"):
        path.write_text("this is no file of parcels")
    county = _county(tmp_path / name, **more)
    cache = DatabaseCache(database.engine)

    def ask() -> object:
        copy = snapshot_file(county, cache, min_rows=1)
        assert copy is None
        return FileSource(county).check()

    said = _said(ask)
    assert said == _said(FileSource(county).check)
    assert error in str(said)
    with database.engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM lotline.parcel_copy")) == 0


def test_a_file_without_a_crs_is_refused(tmp_path: Path, cache: ParcelCache) -> None:
    _frame().to_file(tmp_path / "lots.shp")
    (tmp_path / "lots.prj").unlink()
    with pytest.raises(GeometryError, match="has no CRS; set 'crs:' of county 'here'"):
        snapshot_file(_county(tmp_path / "lots.shp"), cache, min_rows=1)
    assert snapshot_file(_county(tmp_path / "lots.shp", crs="EPSG:4326"), cache, min_rows=1)


def test_a_small_file_gets_no_snapshot(tmp_path: Path, database: Database) -> None:
    _frame().to_file(tmp_path / "lots.gpkg")
    county, cache = _county(tmp_path / "lots.gpkg"), DatabaseCache(database.engine)
    assert snapshot_file(county, cache) is None
    assert snapshot_file(county, cache, min_rows=17) is None
    with database.engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM lotline.parcel")) == 0


def test_a_changed_file_or_entry_makes_a_new_snapshot(tmp_path: Path, database: Database) -> None:
    path, cache = tmp_path / "lots.gpkg", DatabaseCache(database.engine)
    _frame(12).to_file(path)
    progress: list[tuple[int, int]] = []

    def copied(**more: object) -> SnapshotFile:
        progress.clear()
        copy = snapshot_file(
            _county(path, **more), cache, lambda *far: progress.append(far), min_rows=1
        )
        assert copy is not None
        return copy

    def rows() -> int:
        with database.engine.connect() as conn:
            return int(conn.scalar(text("SELECT count(*) FROM lotline.parcel")) or 0)

    first = copied()
    assert progress == [(0, 16), (16, 16)]
    assert copied().extent() == first.extent()
    assert progress == []
    _frame(13).to_file(path)
    assert len(list(copied().all_rows())) == 17
    assert progress == [(0, 17), (17, 17)]
    assert rows() == 17, "the earlier rows are gone"
    assert [row.parcel_id for row in copied(fields={"parcel_id": "Block"}).all_rows()][4] == "1"
    assert rows() == 34


def test_without_the_file_its_snapshot_is_used(tmp_path: Path, cache: ParcelCache) -> None:
    path = tmp_path / "lots.gpkg"
    _frame().to_file(path)
    assert snapshot_file(_county(path), cache, min_rows=1)
    path.unlink()
    copy = snapshot_file(_county(path), cache, min_rows=1)
    assert copy is not None
    [found] = copy.at_points([_inside(1)])
    assert not isinstance(found, ParcelsError)
    assert [row.parcel_id for row in found.rows] == ["01  A"]
    with pytest.raises(SourceMisconfigured, match="no such file"):
        copy.check()  # as the machine does that has the registry


def test_a_file_changed_during_the_copy_is_refused(tmp_path: Path, cache: ParcelCache) -> None:
    path = tmp_path / "lots.gpkg"
    _frame().to_file(path)

    def change(_rows: int, _total: int) -> None:
        os.utime(path, (1, 1))

    with pytest.raises(CacheError, match="changed during the copy: run the command again"):
        snapshot_file(_county(path), cache, change, min_rows=1)
    progress: list[tuple[int, int]] = []
    assert snapshot_file(_county(path), cache, lambda *far: progress.append(far), min_rows=1)
    assert progress[0] == (0, 16), "the incomplete copy was discarded"


def test_concurrent_processes_make_one_snapshot(tmp_path: Path, database: Database) -> None:
    path, cache = tmp_path / "lots.gpkg", DatabaseCache(database.engine)
    _frame().to_file(path)
    has_begun, may_go_on = Event(), Event()

    def hold(rows: int, _total: int) -> None:
        if rows == 0:
            has_begun.set()
            may_go_on.wait(60)

    first = Thread(target=snapshot_file, args=(_county(path), cache, hold, 1))
    first.start()
    assert has_begun.wait(60)
    progress: list[tuple[int, int]] = []
    found: list[SnapshotFile | None] = []

    def ask() -> None:
        found.append(
            snapshot_file(_county(path), cache, lambda *far: progress.append(far), min_rows=1)
        )

    second = Thread(target=ask)
    second.start()
    second.join(0.3)
    may_go_on.set()
    first.join(60)
    second.join(60)
    assert found[0] is not None
    assert len(list(found[0].all_rows())) == 16
    assert progress == []
    with database.engine.connect() as conn:
        states = conn.execute(text("SELECT state FROM lotline.parcel_copy")).scalars().all()
    assert states == ["complete"]


class Telling(NoProgress):
    """Progress that records its messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, what: str) -> None:
        self.said.append(what)


def test_all_lots_of_a_large_file_are_enqueued_with_one_snapshot(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "parcels.cache.file_snapshot.snapshot_file", partial(snapshot_file, min_rows=1)
    )
    frame = gpd.GeoDataFrame({"apn": list("abcde")}, geometry=_lots(5), crs=4326)
    frame.to_parquet(tmp_path / "lots.parquet")
    opened = OpenCounty(_county(tmp_path / "lots.parquet"))
    said: list[list[str]] = []
    for _ in range(2):
        telling = Telling()
        queued = enqueue(
            database, opened, BatchRequest("here", all_lots=True), telling, lambda _: None
        )
        assert queued.waiting == 5
        said.append(telling.said)
    assert said == [
        [
            "listing the lots of here",
            "copying lots.parquet into the database: 5 lots",
            "5 of the 5 lots of here are new properties",
        ],
        ["listing the lots of here", "all 5 lots of here are properties already"],
    ]


# Copies a file and prints its progress, a line for each batch.
COPIER = """
import sys
from pathlib import Path
from parcels import County
from parcels.cache.file_snapshot import snapshot_file
from pipeline.store.database import open_engine
from pipeline.store.parcel_cache.database_cache import DatabaseCache
county = County.model_validate({"key": "here", "path": sys.argv[2]})
snapshot_file(county, DatabaseCache(open_engine(sys.argv[1])), lambda *far: print(*far, flush=True))
"""


@pytest.mark.parametrize("name", ["lots.gpkg", "lots.parquet"])
def test_a_killed_copy_is_resumed(tmp_path: Path, database: Database, name: str) -> None:
    path = tmp_path / name
    lots = _lots(22_000)
    frame = gpd.GeoDataFrame({"apn": [f"{i}" for i in range(22_000)]}, geometry=lots, crs=4326)
    frame.to_parquet(path) if name == "lots.parquet" else frame.to_file(path)
    copier = subprocess.Popen(
        [sys.executable, "-c", COPIER, database.url, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert copier.stdout is not None
    for line in copier.stdout:
        if not line.startswith("0 "):
            break
    copier.send_signal(signal.SIGKILL)
    copier.wait()
    copier.stdout.close()
    with database.engine.begin() as conn:  # the stored rows are now the last ones of the table
        conn.execute(text("UPDATE lotline.parcel SET lacks_id = lacks_id WHERE object_id < 4000"))
    progress: list[tuple[int, int]] = []
    cache = DatabaseCache(database.engine)
    copy = snapshot_file(_county(path), cache, lambda *far: progress.append(far))
    assert copy is not None
    assert progress[0][0] >= 5_000
    assert progress[-1] == (22_000, 22_000)
    assert list(copy.all_rows()) == list(FileSource(_county(path)).all_rows())


@pytest.mark.parametrize("key", ["claremont", "long_beach", "riverside"])
def test_the_real_neighbourhoods_have_the_same_boundaries(
    real_registry: Path, database: Database, key: str
) -> None:
    county = load_registry(real_registry).county(key)
    assert county.properties is not None
    with county.properties.open() as file:
        rows = list(csv.DictReader(file))
    queries = [
        Property(r["property_id"], float(r["longitude"]), float(r["latitude"])) for r in rows
    ]
    queries += [
        Property(f"by id {r['property_id']}", parcel_id=r["parcel_id"])
        for r in rows
        if r["parcel_id"]
    ]
    copy = snapshot_file(county, DatabaseCache(database.engine), min_rows=1)
    found = ParcelBoundaryService(county, copy).boundaries(queries)
    expected = ParcelBoundaryService(county).boundaries(queries)
    assert copy is not None
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert isinstance(one, Boundary)
        assert isinstance(two, Boundary)
        assert one.version == two.version
        assert (one.parcel_ids, one.area_m2, one.method) == (
            two.parcel_ids,
            two.area_m2,
            two.method,
        )
