"""Enqueueing: CSVs, bounding boxes, and every lot of a county."""

from __future__ import annotations

import csv as csv_module
import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from lots import end_run, set_state, start_run
from servers.koop import feature_server
from sqlalchemy import text

from detection.registry.county import DetectionCounty
from pipeline.batch.enqueue import EnqueueResult, enqueue, make_pending
from pipeline.batch.registry_entry import registry_sha256
from pipeline.batch.request import BatchRequest, NoProgress
from pipeline.errors import EmptyQueueError, PipelineError, PropertiesFileError
from pipeline.open_county import OpenCounty
from pipeline.store.database import Database
from pipeline.store.queue import states as states_module

LON, LAT, SIDE = -89.9, 35.1, 0.001


class Declined(Exception):
    """The confirmation was declined."""


def _decline(question: str) -> None:
    raise Declined(question)


def _accept(_: str) -> None:
    pass


class RecordedProgress(NoProgress):
    """Records the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, what: str) -> None:
        self.messages.append(what)


def _lot(number: int) -> shapely.Polygon:
    left = LON + number * SIDE
    return shapely.box(left, LAT, left + 0.9 * SIDE, LAT + SIDE)


Enqueue = Callable[..., EnqueueResult]


@pytest.fixture
def county(tmp_path: Path) -> DetectionCounty:
    """Nine synthetic lots, two rows of one id, two flats, a right of way and one without an id."""
    ids = ["1", "2", "3", "4", "5", "5", "6a", "6b", "ROW", None]
    boxes = [_lot(i) for i in range(len(ids))]
    boxes[7] = boxes[6]
    numbers = ["10"] * 8 + [None, "12"]
    frame = gpd.GeoDataFrame({"apn": ids, "number": numbers}, geometry=boxes, crs=4326)
    frame.to_file(tmp_path / "lots.gpkg")
    return DetectionCounty.model_validate(
        {
            "key": "synthetic",
            "path": str(tmp_path / "lots.gpkg"),
            "fields": {"parcel_id": "apn", "house_number": "number"},
        },
        context={"folder": tmp_path},
    )


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def enqueue_request(
    county: DetectionCounty, database: Database, progress: RecordedProgress
) -> Enqueue:
    """Enqueue a request of the county, confirmed by default."""

    def enqueued(confirm: Callable[[str], None] = _accept, **fields: object) -> EnqueueResult:
        request = BatchRequest("synthetic", segmenter="spectral", **fields)  # type: ignore[arg-type]  # any field
        return enqueue(database, OpenCounty(county), request, progress, confirm)

    return enqueued


def _ids(database: Database) -> list[str]:
    with database.engine.connect() as conn:
        names = text("SELECT property_id FROM lotline.property ORDER BY property_id")
        return list(conn.execute(names).scalars())


def _csv(folder: Path, *rows: str) -> Path:
    path = folder / "leads.csv"
    path.write_text("property_id,longitude,latitude,parcel_id\n" + "\n".join(rows) + "\n")
    return path


def test_empty_queue_error_says_how_to_fill_it(enqueue_request: Enqueue) -> None:
    with pytest.raises(EmptyQueueError, match=r"PROPERTIES=.*properties:.*--all-lots"):
        enqueue_request()


def test_all_lots_adds_one_property_for_each_lot(
    enqueue_request: Enqueue, database: Database
) -> None:
    assert enqueue_request(all_lots=True).waiting == 7
    *named, without_id = _ids(database)
    assert named == ["1", "2", "3", "4", "5", "6a"]
    assert without_id == f"lot@{LON + 9.45 * SIDE:.6f}_{LAT + SIDE / 2:.6f}"
    assert enqueue_request(_decline, all_lots=True).waiting == 7, (
        "nothing is new, so nothing is confirmed"
    )


def test_nothing_is_added_without_confirmation(
    enqueue_request: Enqueue, database: Database
) -> None:
    with pytest.raises(Declined, match="7 lots, 7 of them new"):
        enqueue_request(_decline, all_lots=True)
    assert _ids(database) == []


def test_all_lots_keeps_the_properties_of_a_csv(
    enqueue_request: Enqueue, database: Database, tmp_path: Path
) -> None:
    csv = _csv(tmp_path, f"1,{LON},{LAT},", "lead,,,2", f"else,{LON + 1},{LAT},")
    assert enqueue_request(properties=csv).waiting == 3
    assert enqueue_request(properties=csv, all_lots=True).waiting == 8
    assert _ids(database)[:-1] == ["1", "3", "4", "5", "6a", "else", "lead"]
    with database.engine.connect() as conn:
        query = text("SELECT parcel_id FROM lotline.property WHERE property_id = '1'")
        assert conn.execute(query).scalar_one() is None, "the CSV's row is unchanged"
    assert enqueue_request(properties=csv).waiting == 3


def test_all_lots_of_a_county_without_lots(
    enqueue_request: Enqueue, county: DetectionCounty
) -> None:
    assert county.path is not None
    frame = gpd.read_file(county.path)
    frame.assign(apn="ROW", number=None).to_file(county.path)
    with pytest.raises(PipelineError, match="has no lots"):
        enqueue_request(all_lots=True)


def test_all_lots_fetches_a_servers_layer_once(database: Database, tmp_path: Path) -> None:
    boxes = [_lot(i) for i in range(5)]
    frame = gpd.GeoDataFrame({"APN": list("12345")}, geometry=boxes, crs=4326)
    with feature_server(frame, tmp_path) as server:
        entry = {"url": server.url, "layer": 0, "fields": {"parcel_id": "APN"}}
        served = DetectionCounty.model_validate({"key": "served", "allow_private": True, **entry})
        opened, request, progress = (
            OpenCounty(served),
            BatchRequest("served", all_lots=True),
            RecordedProgress(),
        )
        with pytest.raises(Declined, match="5 lots, which are fetched first"):
            enqueue(database, opened, request, progress, _decline)
        assert _ids(database) == []
        assert enqueue(database, opened, request, progress, _accept).waiting == 5
        assert _ids(database) == list("12345")
        assert enqueue(database, opened, request, progress, _decline).waiting == 5
    assert progress.messages[-1] == "all 5 lots of served are properties already"


def test_an_unchanged_csv_is_not_read_again(
    enqueue_request: Enqueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = _csv(tmp_path, "1,,,1", "2,,,", "1,,,2")
    first = enqueue_request(properties=csv)
    assert (first.waiting, first.bad_rows.count) == (1, 2)
    monkeypatch.setattr(
        "pipeline.batch.enqueue.read_rows", lambda _: pytest.fail("the CSV was read")
    )
    again = enqueue_request(properties=csv)
    assert (again.selection, again.bad_rows) == (first.selection, first.bad_rows)


def test_a_csv_that_changes_while_it_is_read_is_rejected(
    enqueue_request: Enqueue, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = _csv(tmp_path, "1,,,1")
    digests = iter("12")
    monkeypatch.setattr("pipeline.batch.enqueue.file_sha256", lambda _: next(digests))
    with pytest.raises(PropertiesFileError, match="changed while it was read"):
        enqueue_request(properties=csv)
    assert _ids(database) == []


def test_a_csv_with_only_bad_rows_is_not_an_empty_queue(
    enqueue_request: Enqueue, tmp_path: Path
) -> None:
    enqueued = enqueue_request(properties=_csv(tmp_path, "1,,,"))
    assert (enqueued.waiting, enqueued.bad_rows.count) == (0, 1)


def _rejected_lines(path: Path | None) -> list[int]:
    assert path is not None
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [int(row["line"]) for row in csv_module.DictReader(file)]


@pytest.mark.parametrize("bad", [3, 300], ids=["few", "more than are stored"])
def test_rejected_rows_are_complete_also_for_a_list_that_is_loaded_already(
    enqueue_request: Enqueue, tmp_path: Path, bad: int
) -> None:
    rows = [row for i in range(bad) for row in (f"{i},,,{i}", f"{i},,,7", f"x{i},ninety,35,")]
    csv, out = _csv(tmp_path, *rows), tmp_path / "out"
    first = enqueue_request(properties=csv, out=out)
    assert first.bad_rows.count == 2 * bad
    expected = [line for i in range(bad) for line in (3 * i + 3, 3 * i + 4)]
    assert _rejected_lines(first.rejected_path) == expected
    assert first.rejected_path == out / "rejected.csv"
    first.rejected_path.unlink()
    again = enqueue_request(properties=csv, out=out)
    assert _rejected_lines(again.rejected_path) == expected
    assert again.selection == first.selection
    csv.write_text("property_id,parcel_id\n1,1\n")
    assert enqueue_request(properties=csv, out=out).rejected_path is None
    assert not (out / "rejected.csv").exists()


def test_a_folder_that_cannot_be_written_does_not_stop_a_batch(
    enqueue_request: Enqueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    enqueued = enqueue_request(properties=_csv(tmp_path, "1,,,1", "1,,,2"), out=out)
    assert (enqueued.waiting, enqueued.rejected_path) == (1, None)
    assert "rejected.csv cannot be written" in caplog.text


def test_what_was_understood_is_reported_at_once_and_in_the_result(
    enqueue_request: Enqueue, tmp_path: Path, progress: RecordedProgress
) -> None:
    path = tmp_path / "leads.csv"
    path.write_bytes(f"ID;Lng;Lat;Notiz\n1;{LON};{LAT};Süd\n".replace(".", ",").encode("cp1252"))
    understood = (
        "Read leads.csv: Windows-1252, semicolons, decimal commas; ID → property_id, "
        "Lng → longitude, Lat → latitude"
    )
    assert enqueue_request(properties=path).understood == understood
    assert progress.messages == [understood]
    assert enqueue_request(properties=path).understood == understood


def test_bbox_selects_and_reports_properties_without_a_location(
    enqueue_request: Enqueue, tmp_path: Path, progress: RecordedProgress
) -> None:
    csv = _csv(tmp_path, f"1,{LON},{LAT},", f"2,{LON + 1},{LAT},", "3,,,3")
    enqueued = enqueue_request(
        properties=csv, bbox=(LON - SIDE, LAT - SIDE, LON + SIDE, LAT + SIDE)
    )
    assert (enqueued.waiting, enqueued.without_location) == (1, 1)
    assert progress.messages == ["skipped by the bounding box: 1 not located yet"]
    with pytest.raises(
        EmptyQueueError, match=r"no property of .* is in the bounding box .*\(1 are not located"
    ):
        enqueue_request(properties=csv, bbox=(LAT, LON, LAT + 1, LON + 1))


def test_a_changed_registry_entry_retries_the_failures_it_may_fix(
    enqueue_request: Enqueue, tmp_path: Path, county: DetectionCounty, database: Database
) -> None:
    csv = _csv(tmp_path, "1,,,1", "2,,,2")
    enqueued = enqueue_request(properties=csv)
    with database.engine.begin() as conn:
        run = start_run(conn, county="synthetic")
        entry = text("UPDATE lotline.run SET settings = CAST(:settings AS jsonb)")
        settings = json.dumps({"registry_sha256": registry_sha256(county)})
        conn.execute(entry, {"settings": settings})
        conn.execute(text("UPDATE lotline.property SET run_fk = :run"), {"run": run.id})
        ids = list(conn.execute(text("SELECT id FROM lotline.property ORDER BY id")).scalars())
        set_state(conn, ids[:1], "failed", "not_found")
        set_state(conn, ids[1:], "failed", "too_large")
        end_run(conn, run)
    assert enqueue_request(properties=csv).waiting == 0
    assert county.path is not None
    county.path.write_bytes(county.path.read_bytes() + b" ")
    assert enqueue_request(properties=csv).waiting == 1
    make_pending(database, county, BatchRequest("synthetic"), enqueued)
    with database.engine.connect() as conn:
        assert states_module.count_states(conn, "synthetic") == {
            ("pending", ""): 1,
            ("failed", "too_large"): 1,
        }


def test_registry_sha256_ignores_keys_that_change_no_lot(county: DetectionCounty) -> None:
    same = county.model_copy(update={"name": "Another", "calls_in_flight": 4})
    assert registry_sha256(same) == registry_sha256(county)
    other = county.model_copy(update={"where": "x > 1"})
    assert registry_sha256(other) != registry_sha256(county)
