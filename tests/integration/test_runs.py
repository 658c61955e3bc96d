"""Stored runs: results, end states, comparison of two runs, maps."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from bigcounty import LOT_DEG, create_county
from lots import (
    COUNTY,
    lease_to,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    set_state,
    square,
    start_run,
    write_lot,
)
from sqlalchemy import Connection, text

from detection.results import LotResult
from detection.timing import DurationHistogram
from parcels.measure import area_m2
from pipeline.report import build_report
from pipeline.report.comparison import compare_runs
from pipeline.report.html_page import html_page
from pipeline.report.map_svg import map_drawing
from pipeline.report.page_extras import PageExtras
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.runs import lifecycle
from pipeline.store.runs.comparison import pair_runs
from pipeline.store.runs.map_data import MAX_DRAWN_LOTS, build_run_map
from pipeline.store.runs.metrics import RunMetrics
from pipeline.store.runs.totals import ExampleProperty, StateCount

LAWN = square(1, 1, 6, 4)
LARGER = square(1, 1, 6, 5)
TREE = square(1, 6, 3, 3)


def _histogram(*seconds: float) -> DurationHistogram:
    histogram = DurationHistogram()
    for each in seconds:
        histogram.record(each)
    return histogram


METRICS = RunMetrics(
    {"segment": _histogram(0.1, 0.2, 0.3)}, {"gis.example.gov:443": 7}, 5, {"worker lost": 1}, 2
)


def _lease(conn: Connection, run: RunInfo, *property_fks: int) -> None:
    """Lease properties for a run; `write_lot` sets the state."""
    lease_to(conn, property_fks)
    query = text("UPDATE lotline.property SET run_fk = :run WHERE id = ANY(:ids)")
    conn.execute(query, {"run": run.id, "ids": list(property_fks)})


def _move_into_the_past(conn: Connection) -> None:
    """Date everything written so far an hour back, because a test is one transaction."""
    for table, column in (("measurement", "created_at"), ("run", "finished_at")):
        conn.execute(text(f"UPDATE lotline.{table} SET {column} = {column} - interval '1 h'"))


def _wait_for_unlock(database: Database) -> None:
    """The server releases the lock a moment after the connection closes."""
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for _ in range(500):
            if not conn.execute(locks).scalar_one():
                return
            time.sleep(0.01)
    pytest.fail("the lock of a closed connection is still held")


def test_metrics_round_trip_as_json() -> None:
    assert RunMetrics.from_json(json.loads(json.dumps(METRICS.as_json()))) == METRICS
    assert RunMetrics.from_json({}) == RunMetrics()


def test_notes_are_stored_when_they_become_known(conn: Connection) -> None:
    run = start_run(conn, ["lawn"])
    lifecycle.update_settings(conn, run.id, {"imagery_notes": ["token=secret is NIR"]})
    lifecycle.update_settings(conn, run.id, {"county_notes": ["small lots"]})
    lifecycle.finish(conn, run.id, "finished", RunMetrics())
    report = build_report(conn, lifecycle.get_run(conn, run.id))
    assert report.imagery_notes == ("token=*** is NIR",)
    assert report.county_notes == ("small lots",)
    assert report.settings["labels"] == ["lawn"]


def test_a_report_covers_its_run_only(conn: Connection) -> None:
    earlier = start_run(conn, ["lawn", "tree"])
    first, second, circle, dark, away, waiting = load_properties(conn, 6)
    _lease(conn, earlier, first, second)
    write_lot(conn, earlier, first, make_boundary(), make_result(make_detection(LAWN)))
    write_lot(
        conn,
        earlier,
        second,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(TREE, "tree")),
    )
    lifecycle.finish(conn, earlier.id, "finished", RunMetrics())

    run = start_run(conn, ["lawn"])
    _lease(conn, run, second, circle, dark, away, waiting)
    write_lot(conn, run, second, make_boundary(), make_result(make_detection(LARGER)))
    write_lot(conn, run, circle, make_boundary(8, "buffer_30m"), make_result(make_detection(LAWN)))
    write_lot(
        conn,
        run,
        dark,
        make_boundary(),
        LotResult("no_imagery", reason="missing", detail="no file"),
    )
    set_state(conn, [away], "deferred", "unavailable")
    set_state(conn, [waiting], "pending")
    lifecycle.finish(conn, run.id, "interrupted", METRICS)

    report = build_report(conn, lifecycle.get_run(conn, run.id))
    assert (report.state, report.properties) == ("interrupted", 4)
    assert {(c.state, c.reason): c.properties for c in report.counts} == {
        ("done", "measured"): 2,
        ("no_imagery", "missing"): 1,
        ("deferred", "unavailable"): 1,
    }
    assert {each.source: each.properties for each in report.sources} == {"lot": 1, "buffer_30m": 1}
    # The tree is from the earlier run; this run has no label tree.
    assert [(a.label, a.source, a.properties, a.detections) for a in report.areas] == [
        ("lawn", "lot", 1, 1),
        ("lawn", "buffer_30m", 1, 1),
    ]
    assert [a.area_m2 for a in report.areas] == pytest.approx([area_m2(LARGER), area_m2(LAWN)])
    assert [(e.property_id, e.state) for e in report.examples] == [
        ("p4", "deferred"),
        ("p3", "no_imagery"),
    ]
    assert (report.encoder_calls, report.kept_reviews) == (5, 2)
    assert [(each.host, each.requests) for each in report.requests] == [("gis.example.gov:443", 7)]
    [stage] = report.stages
    assert (stage.calls, stage.longest_s) == (3, 0.3)
    assert stage.p50_s == pytest.approx(0.2, rel=0.05)


def test_a_report_is_unchanged_after_a_later_run(conn: Connection) -> None:
    [only] = load_properties(conn, 1)
    reports = []
    for shape in (LAWN, LARGER):
        run = start_run(conn, ["lawn"])
        _lease(conn, run, only)
        write_lot(conn, run, only, make_boundary(), make_result(make_detection(shape)))
        lifecycle.finish(conn, run.id, "finished", METRICS)
        reports.append(build_report(conn, lifecycle.get_run(conn, run.id)))
    first, second = reports
    assert build_report(conn, lifecycle.get_run(conn, first.id)) == first
    assert first.properties == second.properties == 1
    assert first.areas[0].area_m2 < second.areas[0].area_m2
    assert [run.id for run in lifecycle.recent_runs(conn, COUNTY, 9)] == [second.id, first.id]
    assert lifecycle.recent_runs(conn, "elsewhere") == []


def test_a_killed_run_is_detected_and_its_results_count(database: Database) -> None:
    with database.engine.begin() as conn:
        done, held = load_properties(conn, 2)
    alive = database.engine.connect()
    alive.detach()
    run = start_run(alive, ["lawn"])
    _lease(alive, run, done, held)
    alive.commit()
    with database.engine.begin() as conn:
        lifecycle.heartbeat(conn, run.id, METRICS)
        write_lot(conn, run, done, make_boundary(), make_result(make_detection(LAWN)))
    with database.engine.connect() as conn:
        assert lifecycle.get_run(conn, run.id).state == "running"
    alive.close()
    _wait_for_unlock(database)

    # Before and after the next batch detects it.
    with database.engine.connect() as conn:
        undetected = build_report(conn, lifecycle.get_run(conn, run.id))
    with database.engine.begin() as conn:
        assert lifecycle.reclaim_killed(conn, COUNTY) == 1
        tried = conn.execute(text("SELECT attempts FROM lotline.property WHERE id = :id"),
                             {"id": held})  # fmt: skip
        assert tried.scalar_one() == 0
    with database.engine.begin() as conn:
        detected = build_report(conn, lifecycle.get_run(conn, run.id))
        later = start_run(conn, ["lawn"])
        _lease(conn, later, done, held)
        set_state(conn, [done], "failed", "not_found")
    with database.engine.connect() as conn:
        at_last = build_report(conn, lifecycle.get_run(conn, run.id))
    for report in (undetected, detected, at_last):
        assert report.state == "killed"
        assert [(c.state, c.properties) for c in report.counts] == [("done", 1)]
        assert report.areas[0].area_m2 == pytest.approx(area_m2(LAWN))
        assert report.encoder_calls == 5
        assert report.last_sign_at is not None
    assert detected.finished_at is not None
    assert detected.finished_at >= report.last_sign_at
    assert at_last == detected


def test_a_run_that_lost_its_connection_reopens(database: Database) -> None:
    with database.engine.begin() as conn:
        held = load_properties(conn, 2)
    lost = database.engine.connect()
    lost.detach()
    run = start_run(lost)
    _lease(lost, run, *held)
    lost.commit()
    lost.close()
    _wait_for_unlock(database)
    with database.engine.begin() as conn:
        assert lifecycle.reclaim_killed(conn, COUNTY, own=run.id) == 0, (
            "a run does not reclaim itself"
        )
        assert lifecycle.reclaim_killed(conn, COUNTY) == 2, "another batch reclaims it"
    alive = database.engine.connect()
    alive.detach()
    lifecycle.reacquire_lock(alive, run.id)
    alive.commit()
    with database.engine.begin() as conn:
        lifecycle.heartbeat(conn, run.id, METRICS)
        reopened = lifecycle.get_run(conn, run.id)
        assert (reopened.state, reopened.finished_at, reopened.results) == ("running", None, None)
        assert reopened.beat_at is not None
        assert lifecycle.reclaim_killed(conn, COUNTY) == 0
    alive.close()


def test_a_run_behind_an_unrecognised_pooler_is_not_taken_for_a_killed_one(
    database: Database,
) -> None:
    """The lock is another session's, the caller's own, or lost; the heartbeats go on."""
    with database.engine.begin() as conn:
        held = load_properties(conn, 2)
    shared, other = database.engine.connect(), database.engine.connect()
    shared.detach()
    run = start_run(shared)
    _lease(shared, run, *held)
    shared.commit()
    # A batch whose transaction gets the session that holds the lock.
    assert lifecycle.reclaim_killed(shared, COUNTY) == 0
    assert lifecycle.get_run(shared, run.id).state == "running"
    shared.commit()

    # A heartbeat that gets another session; then the pooler closes the first one.
    lifecycle.heartbeat(other, run.id, METRICS)
    lifecycle.verify_lock(other, run.id)
    other.commit()
    shared.close()
    _wait_for_unlock(database)
    assert lifecycle.reclaim_killed(other, COUNTY) == 0
    assert lifecycle.get_run(other, run.id).state == "running"
    other.commit()

    other.execute(text("UPDATE lotline.run SET beat_at = beat_at - interval '16 min'"))
    assert lifecycle.get_run(other, run.id).state == "killed"
    assert lifecycle.reclaim_killed(other, COUNTY) == 2
    other.close()


def test_a_run_that_holds_its_lock_is_sure_of_it(database: Database) -> None:
    with database.engine.connect() as conn:
        load_properties(conn, 1)
        run = start_run(conn)
        lifecycle.verify_lock(conn, run.id)
        unsure = conn.execute(text("SELECT lock_is_unsure FROM lotline.run")).scalar_one()
        assert unsure is False


def test_a_run_killed_before_its_first_heartbeat_lasts_until_its_last_result(
    conn: Connection,
) -> None:
    [done] = load_properties(conn)
    run = start_run(conn, ["lawn"])
    _lease(conn, run, done)
    write_lot(conn, run, done, make_boundary(), make_result(make_detection(LAWN)))
    conn.execute(text("UPDATE lotline.run SET started_at = started_at - interval '7 s'"))
    conn.execute(text("SELECT pg_advisory_unlock_all()"))
    killed = lifecycle.get_run(conn, run.id)
    assert (killed.state, killed.beat_at, round(killed.took_s)) == ("killed", None, 7)


def test_a_heartbeat_after_the_end_changes_nothing(conn: Connection) -> None:
    run = start_run(conn)
    lifecycle.finish(conn, run.id, "finished", METRICS)
    lifecycle.heartbeat(conn, run.id, RunMetrics())
    assert lifecycle.get_run(conn, run.id).metrics == METRICS


def test_examples_are_limited_per_reason(conn: Connection) -> None:
    run = start_run(conn)
    keys = load_properties(conn, 20)
    _lease(conn, run, *keys)
    set_state(conn, keys[:12], "failed", "not_found")
    set_state(conn, keys[12:], "deferred", "unavailable")
    results = lifecycle.finish(conn, run.id, "finished", RunMetrics())
    assert results.counts == (
        StateCount("deferred", "unavailable", 8),
        StateCount("failed", "not_found", 12),
    )
    assert Counter(e.reason for e in results.examples) == {"unavailable": 5, "not_found": 5}
    assert results.examples[5] == ExampleProperty("p0", "failed", "not_found", "", 12)


def test_two_runs_are_compared_on_common_properties(conn: Connection) -> None:
    both, first_only, second_only, moved = load_properties(conn, 4)
    reports = []
    for shape, others, source in ((LAWN, first_only, "lot"), (LARGER, second_only, "buffer_30m")):
        run = start_run(conn, ["lawn"] if source == "lot" else ["lawn", "tree"])
        for key in (both, others, moved):
            _lease(conn, run, key)
            where: Any = source if key == moved else "lot"
            write_lot(
                conn, run, key, make_boundary(source=where), make_result(make_detection(shape))
            )
        lifecycle.finish(conn, run.id, "finished", RunMetrics())
        if source == "lot":
            _move_into_the_past(conn)
        reports.append(lifecycle.get_run(conn, run.id))
    comparison = compare_runs(conn, *reports)
    assert comparison.common_properties == 2
    lots, circles = comparison.areas
    assert (lots.source, lots.a_properties, lots.b_properties) == ("lot", 2, 1)
    assert (circles.source, circles.a_properties, circles.b_properties) == ("buffer_30m", 0, 1)
    # Both properties are in the same lot, which counts once.
    assert lots.a_m2 == pytest.approx(area_m2(LAWN))
    assert lots.b_m2 == pytest.approx(area_m2(LARGER))
    assert lots.difference_m2 == lots.b_m2 - lots.a_m2
    assert lots.difference_percent == pytest.approx(100 * lots.difference_m2 / lots.a_m2)
    assert circles.difference_percent is None
    assert [(each.setting, each.a, each.b) for each in comparison.settings] == [
        ("labels", ["lawn"], ["lawn", "tree"])
    ]
    nothing_changed = compare_runs(conn, reports[1], reports[1])
    assert nothing_changed.settings == ()
    assert nothing_changed.common_properties == 3
    assert {each.difference_m2 for each in nothing_changed.areas} == {0}


def test_equal_runs_are_compared_after_a_later_run(conn: Connection) -> None:
    [key] = load_properties(conn, 1)
    ids = []
    for _ in range(3):
        run = start_run(conn, ["lawn"])
        _lease(conn, run, key)
        write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
        lifecycle.finish(conn, run.id, "finished", RunMetrics())
        ids.append(run.id)
    for a, b in ((ids[0], ids[1]), (ids[1], ids[2]), (ids[1], ids[1])):
        pairs = pair_runs(conn, lifecycle.get_run(conn, a), lifecycle.get_run(conn, b))
        assert pairs.properties == 1
        assert [(each.a_properties, each.b_properties) for each in pairs.areas] == [(1, 1)]


def test_runs_of_an_older_schema_keep_their_numbers(empty_database: Database) -> None:
    old = """
    INSERT INTO lotline.run (county, settings, segmenter, state, finished_at, counts, timings)
    VALUES
        ('c', '{"labels": ["lawn"]}', 'spectral-1', 'finished', now() + interval '10 s',
         '{"done/measured": 40, "failed/not_found": 2}',
         '{"seconds": {"segment": 8.5, "write": 1}, "calls": {"segment": 12}}'),
        ('c', '{}', 'spectral-1', 'interrupted', now(), '{}', '{}')
    """
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with empty_database.engine.begin() as conn:
        conn.execute(text("CREATE SCHEMA lotline"))
        conn.execute(text("CREATE EXTENSION IF NOT EXISTS postgis"))
        config.attributes["connection"] = conn
        command.upgrade(config, "0003")
        conn.exec_driver_sql(old)
    schema.upgrade(empty_database.engine)
    with empty_database.engine.connect() as conn:
        second, first = (build_report(conn, run) for run in lifecycle.recent_runs(conn, "c", 9))
    assert [(c.state, c.reason, c.properties) for c in first.counts] == [
        ("done", "measured", 40),
        ("failed", "not_found", 2),
    ]
    assert (first.properties, first.took_s, first.properties_per_s) == (42, 10.0, 4.2)
    assert [(s.stage, s.calls, s.seconds, s.p99_s) for s in first.stages] == [
        ("segment", 12, 8.5, None),
        ("write", 0, 1.0, None),
    ]
    assert (second.state, second.properties, second.stages) == ("interrupted", 0, ())


def test_settings_contain_no_secrets(conn: Connection) -> None:
    given = {"imagery": {"url": "https://gis.example.gov/x?token=verysecretword"}, "token": "abcd1"}
    run_id = lifecycle.start(conn, COUNTY, given, "synthetic", None)
    kept = conn.execute(text("SELECT settings::text FROM lotline.run")).scalar_one()
    page = html_page(build_report(conn, lifecycle.get_run(conn, run_id)))
    for text_ in (kept, page):
        assert "gis.example.gov" in text_
        assert "verysecretword" not in text_
        assert "abcd1" not in text_


def test_few_lots_are_drawn_as_outlines_and_many_as_a_grid(conn: Connection) -> None:
    for county, count in (
        ("few", 200),
        ("many", MAX_DRAWN_LOTS + 500),
        ("more", 4 * MAX_DRAWN_LOTS),
    ):
        create_county(conn, county, count)
        [run] = lifecycle.recent_runs(conn, county)
        places = build_run_map(conn, run)
        assert places is not None
        report = build_report(conn, run)
        assert places.properties == places.placed == report.properties == count
        assert (places.grid is None) == (count <= MAX_DRAWN_LOTS)
        page = html_page(report, PageExtras(places))
        assert f"{places.shown:,} of {count:,} properties are shown." in page
        assert len(page) < 1_000_000
        if places.grid is not None:
            cells = places.grid.cells
            assert len(cells) <= 28 * 28
            assert sum(sum(cell.states.values()) for cell in cells) == places.shown == count
            for area in report.areas_of("lot"):
                in_cells = sum(cell.areas_m2.get(area.label, 0.0) for cell in cells)
                assert in_cells == pytest.approx(area.area_m2)
        else:
            assert len(re.findall('class="lot ', page)) == 198
            assert len(places.detections) == 198 * 4


def test_an_outlier_does_not_shrink_the_map(conn: Connection) -> None:
    create_county(conn, COUNTY, 150)
    conn.execute(
        text("UPDATE lotline.property SET boundary_fk = NULL, state = 'failed', "
             "point = ST_SetSRID(ST_MakePoint(12, 48), 4326) WHERE property_id = 'lot-7'")
    )  # fmt: skip
    [run] = lifecycle.recent_runs(conn, COUNTY)
    places = build_run_map(conn, run)
    assert places is not None
    assert (places.placed, places.shown) == (150, 150)
    drawing = map_drawing(places, 150)
    assert drawing.lots is not None
    *near, far = drawing.lots.panels
    assert far.caption.endswith("1 property at 48.0000° N, 12.0000° E")
    assert all("N, 90.0" in panel.caption for panel in near)


def test_an_outlier_does_not_shrink_a_grid(conn: Connection) -> None:
    create_county(conn, COUNTY, MAX_DRAWN_LOTS + 500)
    conn.execute(
        text("UPDATE lotline.property SET boundary_fk = NULL, state = 'failed', "
             "point = ST_SetSRID(ST_MakePoint(12, 48), 4326) WHERE property_id = 'lot-7'")
    )  # fmt: skip
    [run] = lifecycle.recent_runs(conn, COUNTY)
    places = build_run_map(conn, run)
    assert places is not None
    assert places.placed - places.shown == 1
    assert places.bounds[2] < -89


def test_a_lot_that_several_properties_share_counts_once_in_a_cell(conn: Connection) -> None:
    create_county(conn, COUNTY, MAX_DRAWN_LOTS + 500)
    [run] = lifecycle.recent_runs(conn, COUNTY)
    before = build_run_map(conn, run)
    # The units of a house: each has the lot, with one version, and all of its areas.
    unit, house = conn.execute(
        text("SELECT p.id, p.boundary_fk FROM lotline.property p JOIN lotline.boundary b "
             "ON b.id = p.boundary_fk AND b.source = 'lot' ORDER BY p.id LIMIT 2")
    ).all()  # fmt: skip
    conn.execute(text("SET LOCAL session_replication_role = replica"))
    for statement in (
        "UPDATE lotline.boundary u SET geom = h.geom, version = h.version "
        "FROM lotline.boundary h WHERE u.id = :unit_lot AND h.id = :house_lot",
        "UPDATE lotline.measurement u SET area_m2 = h.area_m2 FROM lotline.measurement h "
        "WHERE u.property_fk = :unit AND h.property_fk = :house AND u.label = h.label",
    ):
        conn.execute(
            text(statement),
            {"unit": unit.id, "house": house.id, "unit_lot": unit.boundary_fk,
             "house_lot": house.boundary_fk},
        )  # fmt: skip
    after = build_run_map(conn, run)
    assert before is not None
    assert after is not None
    assert before.grid is not None
    assert after.grid is not None
    of_label = "SELECT sum(area_m2) FROM (SELECT DISTINCT ON (b.version) m.area_m2 FROM " \
        "lotline.measurement m JOIN lotline.boundary b ON b.id = m.boundary_fk " \
        "WHERE m.label = 'lawn' AND m.source = 'lot') lots"  # fmt: skip
    distinct_m2 = float(conn.execute(text(of_label)).scalar_one())
    in_cells = sum(cell.areas_m2.get("lawn", 0.0) for cell in after.grid.cells)
    assert in_cells == pytest.approx(distinct_m2)
    lots = [sum(cell.lots for cell in grid.cells) for grid in (before.grid, after.grid)]
    assert lots[0] - lots[1] == 1


def test_a_map_across_longitude_180_is_narrow(conn: Connection) -> None:
    for count in (20, MAX_DRAWN_LOTS + 500):
        county = f"fiji {count}"
        create_county(conn, county, count)
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        # 180 runs through a lot, which is stored in two parts.
        moved = "ST_WrapX(ST_Translate({}, 270.0499 - :half, 0), 180, -360)"
        where = {"county": county, "half": LOT_DEG * min(count, 400) / 2}
        for table in ("boundary", "detection"):
            conn.execute(
                text(
                    f"UPDATE lotline.{table} t SET geom = "
                    f"ST_Multi(ST_CollectionExtract({moved.format('t.geom')}, 3)) "
                    "FROM lotline.property p WHERE p.id = t.property_fk AND p.county = :county"
                ),
                where,
            )
        conn.execute(
            text(
                f"UPDATE lotline.property SET point = {moved.format('point')} "
                "WHERE county = :county"
            ),
            where,
        )
        [run] = lifecycle.recent_runs(conn, county)
        places = build_run_map(conn, run)
        assert places is not None
        west, _, east, _ = places.bounds
        assert west < 180 < east
        assert east - west < 400 * LOT_DEG
        assert places.shown >= count * 0.98
        if places.grid is None:
            widths = [each.geometry.bounds[2] - each.geometry.bounds[0] for each in places.lots]
            assert max(widths) < 2 * LOT_DEG


def test_without_known_locations_there_is_no_map(conn: Connection) -> None:
    run = start_run(conn)
    assert build_run_map(conn, lifecycle.get_run(conn, run.id)) is None
