"""Reading: the status of a county, and rows for exports and maps."""

from __future__ import annotations

import json

import pytest
from lots import (
    CHIP,
    COUNTY,
    LAT,
    LON,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_detections,
    set_state,
    square,
    start_run,
    write_lot,
)
from sqlalchemy import Connection, event, text

from detection.results import LotResult
from parcels.boundary import Property
from parcels.measure import area_m2
from pipeline.errors import StoreError
from pipeline.store.queue import loading
from pipeline.store.reads import row_cursors
from pipeline.store.reads.county_status import count_by_county, county_status, list_without_result
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.reviews import verdicts
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics

LAWN = square(1, 1, 6, 4)


@pytest.fixture
def run(conn: Connection) -> RunInfo:
    """A run with every state: a lot, a buffer, no imagery, an outage, and one still waiting."""
    on_lot, on_buffer, dark, away, _ = load_properties(conn, 5)
    run = start_run(conn, ["lawn"])
    write_lot(
        conn, run, on_lot, make_boundary(), make_result(make_detection(LAWN), coverage_fraction=0.5)
    )
    write_lot(
        conn, run, on_buffer, make_boundary(8, "buffer_30m"), make_result(make_detection(LAWN))
    )
    write_lot(
        conn,
        run,
        dark,
        make_boundary(),
        LotResult("no_imagery", reason="missing", detail="no file"),
    )
    set_state(conn, [away], "deferred", "unavailable", "HTTP 503")
    verdicts.accept(conn, read_detections(conn, on_lot)[0].id, "ann")
    return run


def _key(conn: Connection, name: str) -> int:
    query = text("SELECT id FROM lotline.property WHERE property_id = :name")
    return int(conn.execute(query, {"name": name}).scalar_one())


def test_status_counts_and_never_adds_lots_to_buffers(conn: Connection, run: RunInfo) -> None:
    lifecycle.finish(conn, run.id, "finished", RunMetrics())
    status = county_status(conn, COUNTY)
    assert status.by_state == {
        ("done", "measured"): 2,
        ("no_imagery", "missing"): 1,
        ("deferred", "unavailable"): 1,
        ("pending", ""): 1,
    }
    assert status.by_source == {"lot": 1, "buffer_30m": 1}
    assert [(a.label, a.source, a.properties, a.detections) for a in status.areas] == [
        ("lawn", "lot", 1, 1),
        ("lawn", "buffer_30m", 1, 1),
    ]
    assert [area.area_m2 for area in status.areas] == [area_m2(LAWN)] * 2
    assert status.last_run is not None
    assert status.last_run["state"] == "finished"
    assert json.loads(json.dumps(status.as_json()))["county"] == COUNTY


def test_areas_are_summed_over_done_properties_only(conn: Connection, run: RunInfo) -> None:
    """Like the counts by source: pending properties are not included."""
    set_state(conn, [_key(conn, "p0")], "pending")
    status = county_status(conn, COUNTY)
    assert status.by_source == {"buffer_30m": 1}
    assert [(area.source, area.properties) for area in status.areas] == [("buffer_30m", 1)]


def test_old_lot_of_a_corrected_location_is_not_read(conn: Connection, run: RunInfo) -> None:
    loading.load(conn, COUNTY, [Property("p1", LON + 1, LAT)])
    set_state(conn, [_key(conn, "p1")], "failed", "not_found", "no lot, no buffer")
    [frame] = row_cursors.iter_properties(conn, COUNTY)
    row = frame.set_index("property_id").loc["p1"]
    assert row.state == "failed"
    assert row.geometry is None
    assert frame.set_index("property_id")["lawn_m2"].isna()["p1"]
    boundaries = row_cursors.run_boundaries(conn, COUNTY, run.id, 9)
    assert "p1" not in list(boundaries.property_id)
    [found_there] = row_cursors.iter_detections(conn, COUNTY)
    assert list(found_there.property_id) == ["p0"]
    assert [area.source for area in county_status(conn, COUNTY).areas] == ["lot"]


def test_status_of_an_empty_county(conn: Connection, run: RunInfo) -> None:
    assert county_status(conn, "another").by_state == {}
    assert county_status(conn, "another").last_run is None
    assert count_by_county(conn) == {COUNTY: 5}


def test_properties_without_a_result_are_listed_with_their_reason(
    conn: Connection, run: RunInfo
) -> None:
    assert list_without_result(conn, COUNTY) == [
        {"property_id": "p3", "state": "deferred", "reason": "unavailable", "detail": "HTTP 503"},
        {"property_id": "p2", "state": "no_imagery", "reason": "missing", "detail": "no file"},
    ]


def test_detections_are_read_with_their_provenance(conn: Connection, run: RunInfo) -> None:
    frames = list(row_cursors.iter_detections(conn, COUNTY, chunk=1))
    assert [len(frame) for frame in frames] == [1, 1]
    first = frames[0].iloc[0]
    assert frames[0].crs.to_epsg() == 4326
    assert first.geometry.equals(LAWN)
    assert (first.property_id, first.label, first.state) == ("p0", "lawn", "accepted")
    assert (first.source, first.boundary_version) == ("lot", make_boundary().version)
    assert (first.imagery_sha256, first.captured_on, first.gsd_m) == (CHIP.sha256, "2023", 0.6)
    assert (first.run_id, first.prompt, first.segmenter) == (run.id, "a lawn", "synthetic")


def test_only_live_detections_are_read(conn: Connection, run: RunInfo) -> None:
    [frame] = row_cursors.iter_detections(conn, COUNTY)
    verdicts.reject(conn, int(frame.detection_id[0]), "ann")
    [frame] = row_cursors.iter_detections(conn, COUNTY)
    assert list(frame.property_id) == ["p1"]
    [frame] = row_cursors.iter_detections(conn, COUNTY, ["p0", "p9"])
    assert frame.empty
    assert "geometry" in frame.columns


def test_properties_are_read_with_boundary_and_areas(conn: Connection, run: RunInfo) -> None:
    [frame] = row_cursors.iter_properties(conn, COUNTY)
    by_id = frame.set_index("property_id")
    assert by_id.loc["p0", "lawn_m2"] == area_m2(LAWN)
    assert by_id.loc["p0", "coverage_fraction"] == 0.5
    assert by_id.loc["p1", "source"] == "buffer_30m"
    assert by_id.loc["p0", "boundary_area_m2"] == make_boundary().area_m2
    assert by_id.loc["p0", "parcel_ids"] == ["p-1", "p-2"]
    assert by_id.loc["p2", "geometry"].equals(make_boundary().geometry)
    assert by_id.loc["p4", "geometry"] is None
    assert by_id["lawn_m2"].isna().sum() == 3
    boundaries = row_cursors.run_boundaries(conn, COUNTY, run.id, 9)
    assert sorted(boundaries.property_id) == ["p0", "p1", "p2"]


def test_rows_are_streamed_in_chunks_by_a_server_side_cursor(conn: Connection) -> None:
    load_properties(conn, 25)
    cursors: list[str] = []
    event.listen(
        conn.engine,
        "after_cursor_execute",
        lambda _c, cursor, *_: cursors.append(type(cursor).__name__),
    )
    assert [len(frame) for frame in row_cursors.iter_properties(conn, COUNTY, chunk=10)] == [
        10,
        10,
        5,
    ]
    assert cursors[-1] == "ServerCursor"
    # Later statements on the connection are not streamed.
    county_status(conn, COUNTY)
    assert cursors[-1] == "Cursor"


def test_the_latest_run(conn: Connection) -> None:
    assert lifecycle.latest_run(conn, COUNTY) is None
    first, second = start_run(conn), start_run(conn)
    lifecycle.finish(conn, first.id, "interrupted", RunMetrics())
    latest = lifecycle.latest_run(conn, COUNTY)
    assert latest is not None
    assert (latest.id, latest.state, latest.finished_at) == (second.id, "running", None)
    assert latest.settings == {"labels": ["lawn", "tree"]}
    with pytest.raises(StoreError, match="no run 999"):
        lifecycle.finish(conn, 999, "finished", RunMetrics())
