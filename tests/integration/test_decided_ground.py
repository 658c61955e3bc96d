"""Findings on ground that people decided about: rejected stays rejected, also as a piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import shapely
from lots import (
    CHIP,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_areas_m2,
    read_detections,
    read_states,
    shifted,
    square,
    start_run,
    write_lot,
)
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from parcels.boundary import Boundary
from parcels.measure import area_m2, buffer_m
from pipeline.store.bulk_copy import FINDINGS, plan_by_index
from pipeline.store.results import decided_ground
from pipeline.store.results.outcomes import WriteResult
from pipeline.store.reviews import verdicts

LAWN = square(1, 1, 6, 4)
WHOLE = square(0, 0, 10, 10)
LEFT, RIGHT = square(0, 0, 4, 10), square(4, 0, 6, 10)


def _lot(geometry: MultiPolygon) -> Boundary:
    return Boundary(geometry, "lot", area_m2(geometry), "point", "synthetic", ("p-1",))


def _find(
    conn: Connection,
    property_fk: int,
    found: Sequence[MultiPolygon],
    boundary: Boundary | None = None,
    label: str = "lawn",
) -> WriteResult:
    """A new run finds these outlines on a property."""
    result = make_result(*(make_detection(outline, label) for outline in found))
    return write_lot(conn, start_run(conn), property_fk, boundary or make_boundary(), result)


def _live(conn: Connection, property_fk: int, label: str = "lawn") -> list[BaseGeometry]:
    """Outlines of live detections, in the order of insertion."""
    return [
        shapely.from_wkb(row.geom)
        for row in read_detections(conn, property_fk)
        if row.label == label and row.state in ("proposed", "accepted")
    ]


def _rejected(conn: Connection, property_fk: int, outline: MultiPolygon = LAWN) -> int:
    _find(conn, property_fk, [outline])
    detection_id: int = read_detections(conn, property_fk)[-1].id
    verdicts.reject(conn, detection_id, "ann")
    return detection_id


@pytest.mark.parametrize("share", [1.0, 0.83, 0.75, 0.51])
@pytest.mark.parametrize("width", [1, 3, 6])
def test_a_piece_on_rejected_ground_does_not_return(
    conn: Connection, share: float, width: float
) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    piece = square(7 - width * share, 2, width, 1)
    assert _find(conn, key, [piece]) == WriteResult("done", "nothing_found", suppressed=1)
    assert read_states(conn, key) == ["rejected"]


def test_rejected_ground_is_cut_out_of_a_finding_that_lies_mostly_elsewhere(
    conn: Connection,
) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    found = square(4.2, 2, 6, 2)  # 47 % of it is on the rejected lawn
    written = _find(conn, key, [found])
    assert (written.new, written.suppressed) == (1, 0)
    [left] = _live(conn, key)
    assert left.intersection(LAWN).area == pytest.approx(0, abs=1e-15)
    assert left.equals(found.difference(LAWN))
    row = conn.execute(
        text("SELECT area_m2, clipped_area_m2, whole_area_m2 FROM lotline.detection "
             "WHERE state = 'proposed'")
    ).one()  # fmt: skip
    assert row.area_m2 == row.clipped_area_m2 == area_m2(left)
    assert row.whole_area_m2 == 2 * area_m2(found)
    assert read_areas_m2(conn, key)["lawn"] == area_m2(left)
    again = _find(conn, key, [found])
    assert (again.new, again.unchanged, again.superseded, again.suppressed) == (0, 1, 0, 0)


def test_rejected_ground_outlives_a_split_and_a_merge(conn: Connection) -> None:
    whole, left, right, merged = load_properties(conn, 4)
    _rejected(conn, whole)
    for key, shape in ((whole, LEFT), (left, LEFT), (right, RIGHT)):
        inside = LAWN.intersection(shape)
        found = _find(conn, key, [MultiPolygon([inside])], _lot(shape))
        assert (found.new, found.suppressed) == (0, 1)
    bigger = square(0, 0, 20, 10)
    both = [LAWN, square(12, 2, 3, 3)]
    assert _find(conn, merged, both, _lot(bigger)).new == 1
    assert [each.bounds for each in _live(conn, merged)] == [both[1].bounds]


def test_a_moved_property_leaves_its_rejection_on_the_ground(conn: Connection) -> None:
    moved, later = load_properties(conn, 2)
    _rejected(conn, moved)
    away = _lot(shifted(WHOLE, 50))
    assert _find(conn, moved, [shifted(LAWN, 50)], away).new == 1
    assert _find(conn, later, [LAWN]).suppressed == 1


@pytest.mark.parametrize("action", ["accept", "edit", "add", "restore"])
def test_what_stands_gets_no_second_proposal_inside_it(conn: Connection, action: str) -> None:
    [key] = load_properties(conn)
    _find(conn, key, [LAWN])
    [lawn] = read_detections(conn, key)
    if action == "accept":
        verdicts.accept(conn, lawn.id, "ann")
    elif action == "edit":
        verdicts.edit(conn, lawn.id, "ann", square(0, 0, 7.5, 6))
    elif action == "add":
        _find(conn, key, [])
        verdicts.add(conn, key, "ann", "lawn", LAWN)
    else:
        verdicts.reject(conn, lawn.id, "ann")
        verdicts.restore(conn, lawn.id, "ann")
    before = read_areas_m2(conn, key)["lawn"]
    inside, across = square(2, 2, 2, 2), square(5.9, 2, 4.2, 2)
    written = _find(conn, key, [inside, across])
    assert (written.new, written.suppressed) == (1, 1)
    standing, proposed = _live(conn, key)[-2:]
    assert area_m2(standing.intersection(proposed)) < 0.01
    assert read_areas_m2(conn, key)["lawn"] == pytest.approx(before + area_m2(proposed))


def test_accepted_ground_of_another_property_suppresses_nothing(conn: Connection) -> None:
    """Two properties in one lot: each measures the lawn that a person accepted on one of them."""
    one, other = load_properties(conn, 2)
    _find(conn, one, [LAWN])
    verdicts.accept(conn, read_detections(conn, one)[0].id, "ann")
    assert _find(conn, other, [LAWN]).new == 1
    assert read_areas_m2(conn, other)["lawn"] == area_m2(LAWN)


def test_ground_that_was_edited_or_relabelled_away_is_denied_also_next_door(
    conn: Connection,
) -> None:
    one, other = load_properties(conn, 2)
    _find(conn, one, [LAWN])
    lawn_id = read_detections(conn, one)[0].id
    drawn = square(1, 1, 2, 4)
    verdicts.edit(conn, lawn_id, "ann", drawn)
    edited_away = square(3.5, 2, 3, 2)
    assert _find(conn, other, [edited_away]).suppressed == 1
    assert _find(conn, other, [drawn]).new == 1  # accepted there, measured here
    verdicts.relabel(conn, lawn_id, "ann", "tree")
    assert _find(conn, other, [drawn]).suppressed == 1
    assert _find(conn, other, [drawn], label="tree").new == 1


def test_a_restore_ends_the_denial(conn: Connection) -> None:
    one, other = load_properties(conn, 2)
    lawn_id = _rejected(conn, one)
    assert _find(conn, other, [LAWN]).suppressed == 1
    verdicts.restore(conn, lawn_id, "ann")
    assert _find(conn, other, [LAWN]).new == 1


def test_a_restore_of_an_edited_outline_ends_the_denial_of_that_outline(conn: Connection) -> None:
    one, other = load_properties(conn, 2)
    _find(conn, one, [LAWN])
    lawn_id = read_detections(conn, one)[0].id
    drawn = square(1, 1, 4, 4)
    verdicts.edit(conn, lawn_id, "ann", drawn)
    verdicts.reject(conn, lawn_id, "ann")
    verdicts.restore(conn, lawn_id, "ann")
    assert _find(conn, other, [drawn]).new == 1
    assert _find(conn, other, [square(5.2, 1, 1.7, 4)]).suppressed == 1  # edited away


def test_a_rejection_holds_where_another_property_accepts_the_ground(conn: Connection) -> None:
    """Where people disagree, each property keeps its own word; a third one is not denied it."""
    one, other, third = load_properties(conn, 3)
    for key in (one, other):
        _find(conn, key, [LAWN])
    verdicts.reject(conn, read_detections(conn, one)[0].id, "ann")
    verdicts.accept(conn, read_detections(conn, other)[0].id, "bob")
    piece = square(2, 2, 2, 2)
    assert _find(conn, one, [piece]).suppressed == 1
    assert _find(conn, third, [piece]).new == 1


def test_another_county_on_the_same_ground_decides_for_itself(conn: Connection) -> None:
    [here], [there] = load_properties(conn, county="here"), load_properties(conn, county="there")
    _rejected(conn, here)
    assert _find(conn, there, [LAWN]).new == 1


def test_slivers_along_rejected_ground_are_no_proposals(conn: Connection) -> None:
    """An outline of another segmenter that is a pixel wider all round, and lies half elsewhere."""
    [key] = load_properties(conn)
    _rejected(conn, key)
    elsewhere = square(6.5, 2, 9, 9)
    found = shapely.union(buffer_m(LAWN, 1.1), elsewhere)  # two pixels are 1.2 m
    boundary = _lot(square(-5, -5, 25, 25))
    assert _find(conn, key, [MultiPolygon([found])], boundary).new == 1
    [left] = _live(conn, key)
    assert len(left.geoms) == 1
    slivers_m2 = area_m2(found.difference(LAWN)) - area_m2(elsewhere.difference(LAWN))
    stubs_m2 = area_m2(left) - area_m2(elsewhere.difference(LAWN))
    assert slivers_m2 > 150
    assert 0 <= stubs_m2 < 2  # where the slivers begin


def test_a_sliver_that_was_found_as_a_sliver_stays(conn: Connection) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    metre = 0.1  # of a step
    found = shapely.union(square(6.5, 3, 3.4, 5), square(9, 0.5, metre, 3))
    assert _find(conn, key, [MultiPolygon([found])]).new == 1
    [left] = _live(conn, key)
    assert left.equals(found.difference(LAWN))


def test_what_remains_below_the_labels_minimum_is_suppressed(conn: Connection) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    found = MultiPolygon([*square(6.9, 2, 0.21, 0.2).geoms])  # 2 x 2 m, half of it beside
    run = replace(start_run(conn), min_areas_m2={"lawn": 4.0})
    assert area_m2(found) > 4
    written = write_lot(conn, run, key, make_boundary(), make_result(make_detection(found)))
    assert (written.new, written.suppressed) == (0, 1)


def test_neighbours_that_only_touch_rejected_ground_stay_as_found(conn: Connection) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    beside = square(7, 1, 2, 4)
    assert _find(conn, key, [beside]).new == 1
    assert _live(conn, key)[0].equals_exact(beside, 0)


def test_a_discrete_object_across_the_lot_line_keeps_both_areas(conn: Connection) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    pool = square(5, 4.5, 5.1, 2)
    clipped = area_m2(pool.intersection(make_boundary().geometry))
    found = replace(make_detection(pool), relation="belongs", clipped_area_m2=clipped)
    write_lot(conn, start_run(conn), key, make_boundary(), make_result(found))
    left = pool.difference(LAWN)
    row = conn.execute(
        text("SELECT area_m2, clipped_area_m2 FROM lotline.detection WHERE state = 'proposed'")
    ).one()
    assert row.area_m2 == pytest.approx(area_m2(left))
    assert row.clipped_area_m2 == pytest.approx(
        area_m2(left.intersection(make_boundary().geometry))
    )


def test_findings_that_leave_the_same_outline_are_one(conn: Connection) -> None:
    [key] = load_properties(conn)
    _rejected(conn, key)
    found = [square(5, 2, 4.5, 2), square(5.5, 2, 4, 2)]
    written = _find(conn, key, found)
    assert (written.new, written.suppressed) == (1, 1)
    again = _find(conn, key, found)
    assert (again.unchanged, again.suppressed) == (1, 1)


def test_what_a_person_let_stand_counts_in_a_new_boundary_before_a_run_has_its_label(
    conn: Connection,
) -> None:
    [key] = load_properties(conn)
    run = start_run(conn, ["lawn", "pool"])
    pool = square(1, 6, 2, 2)
    both = make_result(make_detection(LAWN), make_detection(pool, "pool"))
    write_lot(conn, run, key, make_boundary(), both)
    verdicts.accept(conn, read_detections(conn, key)[1].id, "ann")
    lawns = start_run(conn, ["lawn"])
    write_lot(conn, lawns, key, make_boundary(2), make_result(chip=CHIP))
    assert read_areas_m2(conn, key) == {
        "lawn": 0.0,
        "pool": pytest.approx(area_m2(square(1, 6, 1, 2))),
    }
    by: list[Any] = conn.execute(
        text("SELECT segmenter FROM lotline.measurement WHERE current ORDER BY label")
    ).all()
    assert [row.segmenter for row in by] == ["synthetic", "person"]


def test_a_chunk_reads_the_forms_near_its_findings_by_index(conn: Connection) -> None:
    FINDINGS.create_empty(conn)
    plan_by_index(conn)
    plan = "\n".join(conn.execute(text(f"EXPLAIN {decided_ground._FORMS}")).scalars())
    for index in ("detection_reviewed_geom_idx", "review_before_geom_idx"):
        assert f"Index Scan using {index}" in plan, plan
