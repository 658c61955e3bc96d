"""Undo, redo and deletion of reviews, and the mark of a property that was reviewed in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lots import (
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_areas_m2,
    read_detections,
    read_states,
    square,
    start_run,
    write_lot,
)
from shapely import Polygon
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from pipeline.errors import NotStored, StoreError, VersionConflict
from pipeline.store.reviews import undo, verdicts
from pipeline.store.reviews.full_reviews import (
    full_review,
    mark_fully_reviewed,
    withdraw_full_review,
)

LAWN = square(1, 1, 6, 4)
DRAWN = square(1, 1, 3, 4)

_ROW = text("""
SELECT state, label, area_m2, clipped_area_m2, whole_area_m2, review_fk, ST_AsEWKT(geom, 17) AS geom
FROM lotline.detection WHERE id = :id
""")


@pytest.fixture
def lot_id(conn: Connection) -> int:
    [lot_id] = load_properties(conn)
    _measure(conn, lot_id)
    return lot_id


@pytest.fixture
def lawn(conn: Connection, lot_id: int) -> int:
    return int(read_detections(conn, lot_id)[0].id)


def _measure(conn: Connection, lot_id: int, outline: Polygon = LAWN) -> None:
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(outline)))


def _row(conn: Connection, detection_id: int) -> tuple[Any, ...]:
    return tuple(conn.execute(_ROW, {"id": detection_id}).one())


def _nonzero(areas_m2: dict[str, float]) -> dict[str, float]:
    return {label: area for label, area in areas_m2.items() if area}


DECISIONS: dict[str, Callable[[Connection, int], Any]] = {
    "accept": lambda conn, key: verdicts.accept(conn, key, "ann"),
    "reject": lambda conn, key: verdicts.reject(conn, key, "ann", "a shadow"),
    "delete": lambda conn, key: verdicts.delete(conn, key, "ann"),
    "relabel": lambda conn, key: verdicts.relabel(conn, key, "ann", "pool"),
    "edit": lambda conn, key: verdicts.edit(conn, key, "ann", DRAWN),
}


@pytest.mark.parametrize("action", DECISIONS)
def test_an_undone_decision_leaves_everything_as_before(
    conn: Connection, lot_id: int, lawn: int, action: str
) -> None:
    before, areas_m2 = _row(conn, lawn), read_areas_m2(conn, lot_id)
    done = DECISIONS[action](conn, lawn)
    decided = _row(conn, lawn)
    undone = undo.undo(conn, done.id, "ann")
    assert _row(conn, lawn) == before
    assert _nonzero(read_areas_m2(conn, lot_id)) == _nonzero(areas_m2)
    assert undone.action == "undo"
    again = undo.redo(conn, done.id, "ann")
    assert (again.action, again.note, again.version) == (action, done.note, 4)
    assert _row(conn, lawn)[:5] == decided[:5]
    assert _row(conn, lawn)[6] == decided[6]


@pytest.mark.parametrize("action", DECISIONS)
def test_a_run_may_change_again_what_nobody_reviewed_in_the_end(
    conn: Connection, lot_id: int, lawn: int, action: str
) -> None:
    undo.undo(conn, DECISIONS[action](conn, lawn).id, "ann")
    _measure(conn, lot_id, square(6, 4, 9, 8))
    assert _row(conn, lawn)[0] == "superseded"
    assert sorted(read_states(conn, lot_id)) == ["proposed", "superseded"]


@pytest.mark.parametrize("action", DECISIONS)
def test_a_run_does_not_change_what_stays_reviewed_after_an_undo(
    conn: Connection, lot_id: int, lawn: int, action: str
) -> None:
    first = verdicts.accept(conn, lawn, "ann")
    undo.undo(conn, DECISIONS[action](conn, lawn).id, "ann")
    accepted = _row(conn, lawn)
    assert accepted[0] == "accepted"
    assert accepted[5] == first.id
    _measure(conn, lot_id, square(6, 4, 9, 8))
    assert _row(conn, lawn) == accepted
    with pytest.raises(DBAPIError, match="reviewed by a person"), conn.begin_nested():
        conn.execute(text("UPDATE lotline.detection SET score = 0.1 WHERE id = :id"), {"id": lawn})


def test_the_undo_of_a_restore_rejects_again_and_runs_respect_it(
    conn: Connection, lot_id: int, lawn: int
) -> None:
    verdicts.reject(conn, lawn, "ann")
    restored = verdicts.restore(conn, lawn, "ann")
    undo.undo(conn, restored.id, "ann")
    assert _row(conn, lawn)[0] == "rejected"
    _measure(conn, lot_id)
    assert read_states(conn, lot_id) == ["rejected"]
    with pytest.raises(DBAPIError, match="stays rejected"), conn.begin_nested():
        conn.execute(text("UPDATE lotline.detection SET state = 'proposed'"))
    with pytest.raises(StoreError, match="restore it first"):
        verdicts.accept(conn, lawn, "ann")


def test_a_chain_is_undone_and_redone_in_order(conn: Connection, lawn: int) -> None:
    rows = [_row(conn, lawn)]
    done = []
    for action in ("accept", "edit", "relabel", "delete"):
        done.append(DECISIONS[action](conn, lawn))
        rows.append(_row(conn, lawn))
    with pytest.raises(StoreError, match="undo that first"):
        undo.undo(conn, done[1].id, "ann")
    for review, before in zip(reversed(done), reversed(rows[:-1]), strict=True):
        undo.undo(conn, review.id, "ann")
        assert _row(conn, lawn) == before
    with pytest.raises(StoreError, match="reviewed after"):
        undo.redo(conn, done[3].id, "ann")
    for review, after in zip(done, rows[1:], strict=True):
        undo.redo(conn, review.id, "ann")
        assert _row(conn, lawn)[:3] == after[:3]


def test_a_drawing_is_undone_and_redone(conn: Connection, lot_id: int, lawn: int) -> None:
    areas_m2 = read_areas_m2(conn, lot_id)
    drawn = verdicts.add(conn, lot_id, "ann", "pool", square(7, 5, 9, 7))
    undo.undo(conn, drawn.id, "ann")
    assert _row(conn, drawn.detection_id)[0] == "superseded"
    assert read_areas_m2(conn, lot_id)["lawn"] == areas_m2["lawn"]
    assert read_areas_m2(conn, lot_id)["pool"] == 0
    # It denies no ground: a run may find a pool there.
    found = make_detection(square(7, 5, 9, 7), "pool")
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(found))
    assert [row.state for row in read_detections(conn, lot_id) if row.label == "pool"] == [
        "superseded", "proposed",
    ]  # fmt: skip
    undo.redo(conn, drawn.id, "ann")
    assert _row(conn, drawn.detection_id)[0] == "accepted"


def test_a_deleted_drawing_denies_no_ground_and_a_deleted_finding_stays_away(
    conn: Connection, lot_id: int, lawn: int
) -> None:
    drawn = verdicts.add(conn, lot_id, "ann", "pool", square(7, 5, 9, 7))
    deleted = verdicts.delete(conn, drawn.detection_id, "ann")
    assert deleted.state == "superseded"
    verdicts.delete(conn, lawn, "ann")
    found = [make_detection(square(7, 5, 9, 7), "pool"), make_detection(LAWN)]
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(*found))
    states = [(row.label, row.state) for row in read_detections(conn, lot_id)]
    assert states == [("lawn", "rejected"), ("pool", "superseded"), ("pool", "proposed")]
    undo.undo(conn, deleted.id, "ann")
    assert _row(conn, drawn.detection_id)[0] == "accepted"


def test_an_undone_edit_leaves_no_decided_ground(conn: Connection, lot_id: int, lawn: int) -> None:
    undo.undo(conn, verdicts.edit(conn, lawn, "ann", DRAWN).id, "ann")
    undo.undo(conn, verdicts.relabel(conn, lawn, "ann", "pool").id, "ann")
    _measure(conn, lot_id, square(1, 1, 6, 4.5))
    assert sorted(read_states(conn, lot_id)) == ["proposed", "superseded"]


def test_what_cannot_be_undone_is_explained(conn: Connection, lawn: int) -> None:
    accepted = verdicts.accept(conn, lawn, "ann")
    with pytest.raises(StoreError, match="by ann: decide about"):
        undo.undo(conn, accepted.id, "bob")
    with pytest.raises(StoreError, match="is not undone"):
        undo.redo(conn, accepted.id, "ann")
    with pytest.raises(VersionConflict, match="version 2"):
        undo.undo(conn, accepted.id, "ann", expected_version=1)
    taken_back = undo.undo(conn, accepted.id, "ann", idempotency_key="undo-key")
    assert undo.undo(conn, accepted.id, "ann", idempotency_key="undo-key") == taken_back
    with pytest.raises(StoreError, match="undone already"):
        undo.undo(conn, accepted.id, "ann")
    with pytest.raises(StoreError, match="is an undo"):
        undo.undo(conn, taken_back.id, "ann")
    with pytest.raises(NotStored, match="no review 999999"):
        undo.undo(conn, 999_999, "ann")
    again = undo.redo(conn, accepted.id, "ann", idempotency_key="redo-key")
    assert undo.redo(conn, accepted.id, "ann", idempotency_key="redo-key") == again
    with pytest.raises(StoreError, match="used for another review"):
        undo.undo(conn, again.id, "ann", idempotency_key="redo-key")


def test_a_trigger_refuses_an_event_that_undoes_another_detection(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    found = make_result(make_detection(LAWN), make_detection(LAWN, "tree"))
    write_lot(conn, start_run(conn), lot_id, make_boundary(), found)
    lawn, tree = (row.id for row in read_detections(conn, lot_id))
    accepted = verdicts.accept(conn, lawn, "ann")
    with pytest.raises(DBAPIError, match="review_undoes_detection_fk_fkey"), conn.begin_nested():
        conn.execute(
            text(
                "INSERT INTO lotline.review (detection_fk, action, reviewer, undoes) "
                "VALUES (:tree, 'undo', 'ann', :review)"
            ),
            {"tree": tree, "review": accepted.id},
        )


def test_a_mark_needs_decisions_and_holds_until_something_is_undecided(
    conn: Connection, lot_id: int, lawn: int
) -> None:
    with pytest.raises(StoreError, match="1 of the property's objects are undecided"):
        mark_fully_reviewed(conn, lot_id, "ann")
    accepted = verdicts.accept(conn, lawn, "ann")
    mark_fully_reviewed(conn, lot_id, "ann", "all seen", idempotency_key="mark-key")
    mark_fully_reviewed(conn, lot_id, "ann", "all seen", idempotency_key="mark-key")
    marked = full_review(conn, lot_id)
    assert marked is not None
    assert (marked.reviewer, marked.labels, marked.note) == ("ann", ("lawn", "tree"), "all seen")
    assert conn.execute(text("SELECT count(*) FROM lotline.full_review")).scalar_one() == 1
    undone = undo.undo(conn, accepted.id, "ann")
    assert full_review(conn, lot_id) is None
    undo.redo(conn, accepted.id, "ann", expected_version=undone.version)
    assert full_review(conn, lot_id) is not None
    withdraw_full_review(conn, lot_id, "bob")
    assert full_review(conn, lot_id) is None


def test_a_mark_ends_with_the_boundary_that_was_reviewed(
    conn: Connection, lot_id: int, lawn: int
) -> None:
    verdicts.accept(conn, lawn, "ann")
    mark_fully_reviewed(conn, lot_id, "ann")
    moved = make_boundary(9)
    write_lot(conn, start_run(conn), lot_id, moved, make_result(make_detection(LAWN)))
    assert full_review(conn, lot_id) is None


def test_a_property_that_nobody_measured_is_not_marked(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    with pytest.raises(StoreError, match="nothing was measured"):
        mark_fully_reviewed(conn, lot_id, "ann")
    with pytest.raises(NotStored):
        mark_fully_reviewed(conn, 999_999, "ann")


@pytest.mark.parametrize(("action", "state"), [("accept", "accepted"), ("reject", "rejected")])
def test_an_undo_of_an_event_that_kept_no_areas_changes_none(
    conn: Connection, lot_id: int, lawn: int, action: str, state: str
) -> None:
    """Events of earlier versions of Lotline say nothing of areas: the whole object's stays."""
    found = _row(conn, lawn)
    event = """INSERT INTO lotline.review (detection_fk, action, reviewer, before, after)
        SELECT id, :action, 'ann', jsonb_build_object(
            'state', state, 'label', label, 'version', version, 'geom', CAST(geom AS text)),
            jsonb_build_object('state', CAST(:state AS text), 'label', label, 'version', 2)
        FROM lotline.detection WHERE id = :id RETURNING id"""
    values = {"action": action, "state": state, "id": lawn}
    review_id = conn.execute(text(event), values).scalar_one()
    conn.execute(text("UPDATE lotline.detection SET state = :state WHERE id = :id"), values)
    undo.undo(conn, review_id, "ann")
    assert _row(conn, lawn) == found
    undo.redo(conn, review_id, "ann")
    assert read_states(conn, lot_id) == [state]
