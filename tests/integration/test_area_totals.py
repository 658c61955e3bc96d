"""Sums of areas: distinct ground, by segmenter and weights, partly imaged lots apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import shapely
from lots import (
    COUNTY,
    LAT,
    LON,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    set_state,
    shifted,
    square,
    start_run,
    write_lot,
)
from shapely import MultiPolygon
from sqlalchemy import Connection, text

from parcels.boundary import Boundary
from parcels.measure import area_m2, buffer_m
from pipeline.report.area_notes import area_groups, area_notes, measured_in
from pipeline.store.reads.county_status import county_status
from pipeline.store.reviews import verdicts
from pipeline.store.runs import lifecycle
from pipeline.store.runs.area_totals import AreaTotal
from pipeline.store.runs.comparison import pair_runs
from pipeline.store.runs.metrics import RunMetrics
from pipeline.store.runs.overlaps import compare_new
from pipeline.store.runs.totals import SourceCount

LAWN = square(1, 1, 6, 4)
ELSEWHERE = 50.0  # steps; beside the first lot


def _circle(east: float) -> Boundary:
    """A 30 m buffer, moved by `east` steps."""
    geometry = shifted(buffer_m(shapely.Point(LON, LAT), 30), east)
    return Boundary(geometry, "buffer_30m", area_m2(geometry), "no_lot", "synthetic", ())


def _lot(geometry: MultiPolygon) -> Boundary:
    return Boundary(geometry, "lot", area_m2(geometry), "point", "synthetic", ("p-1",))


def _areas(conn: Connection) -> list[AreaTotal]:
    """The county's areas, which are the same before and after its boundaries were compared."""
    before = county_status(conn, COUNTY).areas
    compare_new(conn, COUNTY)
    assert county_status(conn, COUNTY).areas == before
    return list(before)


def test_a_lot_of_two_properties_counts_once(conn: Connection) -> None:
    run = start_run(conn, ["lawn"])
    for key in load_properties(conn, 3):
        write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    [area] = _areas(conn)
    assert (area.properties, area.boundaries, area.detections) == (3, 1, 1)
    assert area.area_m2 == area_m2(LAWN)
    assert area.repeated_m2 == 2 * area_m2(LAWN)
    [source] = county_status(conn, COUNTY).sources
    assert (source.properties, source.boundaries) == (3, 1)
    assert source.ground_m2 == make_boundary().area_m2


def test_circles_that_overlap_count_their_ground_once(conn: Connection) -> None:
    run = start_run(conn, ["lawn"])
    first, second, alone = load_properties(conn, 3)
    circles = [_circle(0), _circle(3), _circle(ELSEWHERE)]
    for key, circle in zip((first, second, alone), circles, strict=True):
        write_lot(conn, run, key, circle, make_result(make_detection(circle.geometry)))
    union = shapely.union_all([circle.geometry for circle in circles])
    [area] = _areas(conn)
    assert (area.properties, area.boundaries, area.source) == (3, 3, "buffer_30m")
    assert area.area_m2 == pytest.approx(area_m2(union), rel=1e-9)
    assert area.area_m2 + (area.repeated_m2 or 0) == pytest.approx(
        sum(circle.area_m2 for circle in circles)
    )
    [source] = county_status(conn, COUNTY).sources
    assert source.ground_m2 == pytest.approx(area_m2(union), rel=1e-9)


def test_a_lot_within_another_counts_once_and_neighbours_count_fully(conn: Connection) -> None:
    run = start_run(conn, ["lawn"])
    common, unit, neighbour, circle = load_properties(conn, 4)
    shapes = {
        common: square(0, 0, 10, 10),
        unit: square(2, 2, 3, 3),
        neighbour: square(10, 0, 9, 9),
    }
    for key, shape in shapes.items():
        write_lot(conn, run, key, _lot(shape), make_result(make_detection(shape)))
    # A circle over the lots is another sum.
    write_lot(conn, run, circle, _circle(0), make_result(make_detection(_circle(0).geometry)))
    lots, circles = _areas(conn)
    assert lots.area_m2 == pytest.approx(area_m2(shapes[common]) + area_m2(shapes[neighbour]))
    assert lots.repeated_m2 == pytest.approx(area_m2(shapes[unit]))
    assert (circles.source, circles.repeated_m2) == ("buffer_30m", 0)
    assert circles.area_m2 == area_m2(_circle(0).geometry)


def test_a_review_of_one_property_in_a_shared_lot_adds_only_its_own_ground(
    conn: Connection,
) -> None:
    run = start_run(conn, ["lawn"])
    first, second = load_properties(conn, 2)
    for key in (first, second):
        write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    added = square(6, 4, 3, 3)
    verdicts.add(conn, second, "ann", "lawn", added)
    [area] = _areas(conn)
    union = shapely.union_all([LAWN, added])
    assert area.area_m2 == pytest.approx(area_m2(union), rel=1e-9)
    assert area.detections == 1 + 2


def test_segmenters_and_weights_are_never_added(conn: Connection) -> None:
    for key, (segmenter, weights) in zip(
        load_properties(conn, 3), [("one", None), ("two", "a" * 64), ("two", "b" * 64)], strict=True
    ):
        run = replace(start_run(conn, ["lawn"]), segmenter=segmenter, weights_sha256=weights)
        write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    areas = _areas(conn)
    assert [(a.segmenter, a.weights_sha256) for a in areas] == [
        ("one", None),
        ("two", "a" * 64),
        ("two", "b" * 64),
    ]
    assert {area.area_m2 for area in areas} == {area_m2(LAWN)}
    assert {area.repeated_m2 for area in areas} == {0}


def test_another_segmenter_that_finds_nothing_is_the_one_that_measured(conn: Connection) -> None:
    [key] = load_properties(conn)
    for segmenter in ("one", "two"):
        run = replace(start_run(conn, ["lawn"]), segmenter=segmenter)
        write_lot(conn, run, key, make_boundary(), make_result())
    [area] = _areas(conn)
    assert (area.segmenter, area.area_m2) == ("two", 0)


def test_partly_imaged_lots_have_rows_of_their_own(conn: Connection) -> None:
    run = start_run(conn, ["lawn"])
    whole, half, same = load_properties(conn, 3)
    boundaries = [make_boundary(), _lot(square(ELSEWHERE, 0, 10, 10))]
    lawns = [LAWN, shifted(LAWN, ELSEWHERE)]
    for key, which, share in ((half, 1, 0.51), (whole, 0, 1.0), (same, 1, 0.51)):
        result = make_result(make_detection(lawns[which]), coverage_fraction=share)
        write_lot(conn, run, key, boundaries[which], result)
    full, partly = _areas(conn)
    assert (full.partly_imaged, full.properties, full.boundaries) == (False, 1, 1)
    assert (partly.partly_imaged, partly.properties, partly.boundaries) == (True, 2, 1)
    assert full.area_m2 == area_m2(lawns[0])
    assert partly.area_m2 == area_m2(lawns[1])
    [source] = county_status(conn, COUNTY).sources
    assert (source.properties, source.partly_imaged, source.boundaries) == (3, 2, 2)


def test_a_label_that_only_people_drew_is_theirs(conn: Connection) -> None:
    [key] = load_properties(conn)
    run = start_run(conn, ["lawn"])
    write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    verdicts.add(conn, key, "ann", "pool", square(8, 8, 1, 1))
    lawn, pool = _areas(conn)
    assert (lawn.segmenter, pool.segmenter) == ("synthetic", "person")
    assert county_status(conn, COUNTY).segmenters == ("synthetic",)


def test_a_run_counts_its_own_properties_over_distinct_ground(conn: Connection) -> None:
    run = start_run(conn, ["lawn"])
    first, second, other = load_properties(conn, 3)
    for key in (first, second):
        write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    set_state(conn, [other], "failed", "not_found")
    results = lifecycle.finish(conn, run.id, "finished", RunMetrics())
    [area] = results.areas
    assert (area.properties, area.boundaries, area.area_m2) == (2, 1, area_m2(LAWN))
    [source] = results.sources
    assert (source.properties, source.boundaries, source.partly_imaged) == (2, 1, 0)


def test_two_runs_are_compared_on_distinct_ground(conn: Connection) -> None:
    keys = load_properties(conn, 3)
    runs = []
    for share in (1.0, 0.5):
        run = start_run(conn, ["lawn"])
        for key in keys:
            result = make_result(make_detection(LAWN), coverage_fraction=share)
            write_lot(conn, run, key, make_boundary(), result)
        lifecycle.finish(conn, run.id, "finished", RunMetrics())
        conn.execute(
            text(
                "UPDATE lotline.measurement SET created_at = created_at - interval '1 h'; "
                "UPDATE lotline.run SET finished_at = finished_at - interval '1 h'"
            )
        )
        runs.append(run.id)
    [pair] = pair_runs(conn, *(lifecycle.get_run(conn, run) for run in runs)).areas
    assert (pair.a_properties, pair.b_properties) == (3, 3)
    assert pair.a_m2 == pair.b_m2 == area_m2(LAWN)
    assert (pair.a_partly_imaged, pair.b_partly_imaged) == (0, 3)


def test_the_notes_say_what_is_shared_imaged_in_part_and_contained() -> None:
    def row(label: str, segmenter: str, *, partly: bool) -> AreaTotal:
        return AreaTotal(label, "lot", 2, 2, 10.0, segmenter, None, partly, 2, 0.0)

    sources = [
        SourceCount("lot", 5, 3, 2, 900.0, 500.0),
        SourceCount("buffer_30m", 2, 2, 0, 5000.0, 654.0),
    ]
    areas = [
        row("lawn", "one", partly=False),
        row("lawn", "one", partly=True),
        row("vegetation", "two", partly=False),
    ]
    assert measured_in(sources) == (
        "Measured: 5 in a lot (2 imaged only in part), 2 in a 30 m buffer."
    )
    assert area_notes(sources, areas, {"vegetation": ("lawn", "tree"), "tree": ("leaf",)}) == [
        "5 properties are in 3 lots: one that several properties have counts once.",
        "The lots cover 900 m² of ground; 500 m² where they overlap or repeat are left out.",
        "The 30 m buffers cover 5,000 m² of ground; 654 m² where they overlap or repeat are left "
        "out.",
        "2 properties have imagery of less than 99.5 % of the boundary: what lies on the rest is "
        "not in their areas, which are therefore apart.",
        "Areas of different segmenters or weights are never added.",
        "vegetation contains lawn: never add them.",
    ]
    assert [(group.heading, group.partly_imaged) for group in area_groups(areas)] == [
        ("by one", False),
        ("by two", False),
        ("imaged only in part, by one", True),
    ]
    old = [AreaTotal("lawn", "lot", 1, 1, 10.0)]
    assert area_notes([SourceCount("lot", 1)], old, {}) == [
        "Stored by an earlier version: ground that several properties share may count several "
        "times, and partly imaged lots are included."
    ]
