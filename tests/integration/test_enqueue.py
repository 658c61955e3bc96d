"""What a batch is to work on: CSVs, boxes, and every lot of a county."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from lots import begin, end, finish
from servers.koop import feature_server
from sqlalchemy import text

from parcels import County
from pipeline.batch.enqueue import EnqueueResult, enqueue, make_pending, registry_sha256
from pipeline.batch.request import BatchRequest, NoProgress
from pipeline.errors import EmptyQueueError, PipelineError, PropertiesFileError
from pipeline.open_county import OpenCounty
from pipeline.store.database import Database
from pipeline.store.queue import states as states_module

LON, LAT, SIDE = -89.9, 35.1, 0.001


class Asked(Exception):
    """Somebody was asked, and says no."""


def _no(question: str) -> None:
    raise Asked(question)


def _yes(_: str) -> None:
    pass


class Telling(NoProgress):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, what: str) -> None:
        self.said.append(what)


def _lot(number: int) -> shapely.Polygon:
    left = LON + number * SIDE
    return shapely.box(left, LAT, left + 0.9 * SIDE, LAT + SIDE)


Take = Callable[..., EnqueueResult]


@pytest.fixture
def county(tmp_path: Path) -> County:
    """Nine synthetic lots, two rows of one id, two flats, a right of way and one without an id."""
    ids = ["1", "2", "3", "4", "5", "5", "6a", "6b", "ROW", None]
    boxes = [_lot(i) for i in range(len(ids))]
    boxes[7] = boxes[6]
    numbers = ["10"] * 8 + [None, "12"]
    frame = gpd.GeoDataFrame({"apn": ids, "number": numbers}, geometry=boxes, crs=4326)
    frame.to_file(tmp_path / "lots.gpkg")
    return County.model_validate(
        {
            "key": "synthetic",
            "path": str(tmp_path / "lots.gpkg"),
            "fields": {"parcel_id": "apn", "house_number": "number"},
        },
        context={"folder": tmp_path},
    )


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
def take(county: County, database: Database, telling: Telling) -> Take:
    """Enqueue an order of the county; nobody says no."""

    def taken(confirm: Callable[[str], None] = _yes, **order: object) -> EnqueueResult:
        asked = BatchRequest("synthetic", **order)  # type: ignore[arg-type]  # of the test's own choice
        return enqueue(database, OpenCounty(county), asked, telling, confirm)

    return taken


def _ids(database: Database) -> list[str]:
    with database.engine.connect() as conn:
        names = text("SELECT property_id FROM lotline.property ORDER BY property_id")
        return list(conn.execute(names).scalars())


def _csv(folder: Path, *rows: str) -> Path:
    path = folder / "leads.csv"
    path.write_text("property_id,longitude,latitude,parcel_id\n" + "\n".join(rows) + "\n")
    return path


def test_an_empty_queue_says_how_to_fill_it(take: Take) -> None:
    with pytest.raises(EmptyQueueError, match=r"PROPERTIES=.*properties:.*--all-lots"):
        take()


def test_every_lot_becomes_one_property(take: Take, database: Database) -> None:
    assert take(all_lots=True).waiting == 7
    *named, without_id = _ids(database)
    assert named == ["1", "2", "3", "4", "5", "6a"]
    assert without_id == f"lot@{LON + 9.45 * SIDE:.6f}_{LAT + SIDE / 2:.6f}"
    assert take(_no, all_lots=True).waiting == 7, "nothing is new, and nobody is asked"


def test_who_says_no_has_added_nothing(take: Take, database: Database) -> None:
    with pytest.raises(Asked, match="7 lots, 7 of them new"):
        take(_no, all_lots=True)
    assert _ids(database) == []


def test_what_a_csv_names_is_the_same_property_and_a_new_lot_is_added(
    take: Take, database: Database, tmp_path: Path
) -> None:
    csv = _csv(tmp_path, f"1,{LON},{LAT},", "lead,,,2", f"else,{LON + 1},{LAT},")
    assert take(properties=csv).waiting == 3
    assert take(properties=csv, all_lots=True).waiting == 8
    assert _ids(database)[:-1] == ["1", "3", "4", "5", "6a", "else", "lead"]
    with database.engine.connect() as conn:
        asked = text("SELECT parcel_id FROM lotline.property WHERE property_id = '1'")
        assert conn.execute(asked).scalar_one() is None, "it is asked about as the CSV says"
    assert take(properties=csv).waiting == 3


def test_a_county_without_lots_is_told(take: Take, county: County) -> None:
    assert county.path is not None
    frame = gpd.read_file(county.path)
    frame.assign(apn="ROW", number=None).to_file(county.path)
    with pytest.raises(PipelineError, match="has no lots"):
        take(all_lots=True)


def test_the_lots_of_a_server_are_copied_once(database: Database, tmp_path: Path) -> None:
    boxes = [_lot(i) for i in range(5)]
    frame = gpd.GeoDataFrame({"APN": list("12345")}, geometry=boxes, crs=4326)
    with feature_server(frame, tmp_path) as server:
        entry = {"url": server.url, "layer": 0, "fields": {"parcel_id": "APN"}}
        served = County.model_validate({"key": "served", "allow_private": True, **entry})
        opened, order, telling = (
            OpenCounty(served),
            BatchRequest("served", all_lots=True),
            Telling(),
        )
        with pytest.raises(Asked, match="5 lots, which are fetched first"):
            enqueue(database, opened, order, telling, _no)
        assert _ids(database) == []
        assert enqueue(database, opened, order, telling, _yes).waiting == 5
        assert _ids(database) == list("12345")
        assert enqueue(database, opened, order, telling, _no).waiting == 5
    assert telling.said[-1] == "all 5 lots of served are properties already"


def test_a_csv_that_was_read_is_not_read_again(
    take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = _csv(tmp_path, "1,,,1", "2,,,", "1,,,2")
    first = take(properties=csv)
    assert (first.waiting, first.bad_rows.count) == (1, 2)
    monkeypatch.setattr("pipeline.batch.enqueue.read_rows", lambda _: pytest.fail("it is read"))
    again = take(properties=csv)
    assert (again.selection, again.bad_rows) == (first.selection, first.bad_rows)


def test_a_csv_that_changes_while_it_is_read_is_refused(
    take: Take, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = _csv(tmp_path, "1,,,1")
    digests = iter("12")
    monkeypatch.setattr("pipeline.batch.enqueue.file_sha256", lambda _: next(digests))
    with pytest.raises(PropertiesFileError, match="changed while it was read"):
        take(properties=csv)
    assert _ids(database) == []


def test_only_bad_rows_are_no_empty_queue(take: Take, tmp_path: Path) -> None:
    queued = take(properties=_csv(tmp_path, "1,,,"))
    assert (queued.waiting, queued.bad_rows.count) == (0, 1)


def test_a_box_takes_some_and_says_who_is_left_out(
    take: Take, tmp_path: Path, telling: Telling
) -> None:
    csv = _csv(tmp_path, f"1,{LON},{LAT},", f"2,{LON + 1},{LAT},", "3,,,3")
    queued = take(properties=csv, bbox=(LON - SIDE, LAT - SIDE, LON + SIDE, LAT + SIDE))
    assert (queued.waiting, queued.without_location) == (1, 1)
    assert telling.said == ["skipped by the bounding box: 1 not located yet"]
    with pytest.raises(
        EmptyQueueError, match=r"no property of .* is in the bounding box .*\(1 are not located"
    ):
        take(properties=csv, bbox=(LAT, LON, LAT + 1, LON + 1))


def test_another_registry_entry_lets_what_it_may_be_to_blame_for_wait_again(
    take: Take, tmp_path: Path, county: County, database: Database
) -> None:
    csv = _csv(tmp_path, "1,,,1", "2,,,2")
    queued = take(properties=csv)
    with database.engine.begin() as conn:
        run = begin(conn, county="synthetic")
        entry = text("UPDATE lotline.run SET settings = CAST(:settings AS jsonb)")
        settings = json.dumps({"registry_sha256": registry_sha256(county)})
        conn.execute(entry, {"settings": settings})
        conn.execute(text("UPDATE lotline.property SET run_fk = :run"), {"run": run.id})
        ids = list(conn.execute(text("SELECT id FROM lotline.property ORDER BY id")).scalars())
        finish(conn, ids[:1], "failed", "not_found")
        finish(conn, ids[1:], "failed", "too_large")
        end(conn, run)
    assert take(properties=csv).waiting == 0
    assert county.path is not None
    county.path.write_bytes(county.path.read_bytes() + b" ")
    assert take(properties=csv).waiting == 1
    make_pending(database, county, BatchRequest("synthetic"), queued)
    with database.engine.connect() as conn:
        assert states_module.count_states(conn, "synthetic") == {
            ("pending", ""): 1,
            ("failed", "too_large"): 1,
        }


def test_only_what_lots_are_made_of_tells_two_entries_apart(county: County) -> None:
    same = county.model_copy(update={"name": "Another", "calls_in_flight": 4})
    assert registry_sha256(same) == registry_sha256(county)
    other = county.model_copy(update={"where": "x > 1"})
    assert registry_sha256(other) != registry_sha256(county)
