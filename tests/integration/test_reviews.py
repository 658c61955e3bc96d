"""A person's word stands: through the functions, and in the database itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import shapely
from lots import (
    begin,
    detections,
    finding,
    found,
    lot,
    measured_m2,
    queue,
    square,
    states,
    write_lot,
)
from shapely import LineString, Polygon
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from parcels.measure import area_m2
from pipeline.errors import StoreError, VersionConflict
from pipeline.store.database import Database
from pipeline.store.reviews import verdicts

LAWN = square(1, 1, 6, 4)
DRAWN = square(1, 1, 3, 4)


@pytest.fixture
def lot_id(conn: Connection) -> int:
    """A property with one lawn proposed on it."""
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    return lot_id


@pytest.fixture
def lawn(conn: Connection, lot_id: int) -> int:
    """The id of that lawn."""
    return int(detections(conn, lot_id)[0].id)


def _refused(conn: Connection, statement: str, **values: Any) -> str:
    """What the database says to a statement that it refuses."""
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():
        conn.execute(text(statement), values)
    return str(caught.value.orig)


def _say(conn: Connection, detection_id: int, action: str) -> None:
    """A review written by hand, past the functions."""
    conn.execute(
        text(
            "INSERT INTO lotline.review (detection_fk, action, reviewer) "
            "VALUES (:id, :action, 'ann')"
        ),
        {"id": detection_id, "action": action},
    )


def test_accept(conn: Connection, lot_id: int, lawn: int) -> None:
    review = verdicts.accept(conn, lawn, "ann", "as it is")
    assert (review.state, review.label, review.version) == ("accepted", "lawn", 2)
    [row] = detections(conn, lot_id)
    assert (row.state, row.version, row.review_fk) == ("accepted", 2, review.id)
    assert measured_m2(conn, lot_id)["lawn"] == area_m2(LAWN)


def test_reject_and_restore(conn: Connection, lot_id: int, lawn: int) -> None:
    assert verdicts.reject(conn, lawn, "ann").state == "rejected"
    assert measured_m2(conn, lot_id)["lawn"] == 0
    assert verdicts.restore(conn, lawn, "bob").state == "proposed"
    assert measured_m2(conn, lot_id)["lawn"] == area_m2(LAWN)
    assert verdicts.reject(conn, lawn, "ann").version == 4
    assert states(conn, lot_id) == ["rejected"]


def test_relabel_measures_both_labels(conn: Connection, lot_id: int, lawn: int) -> None:
    assert verdicts.relabel(conn, lawn, "ann", "tree").label == "tree"
    assert measured_m2(conn, lot_id) == {"lawn": 0.0, "tree": area_m2(LAWN)}
    # The measurement of before still says what it counted.
    history = text(
        "SELECT m.label, d.detection_fk FROM lotline.measurement m "
        "JOIN lotline.measurement_detection d ON d.measurement_fk = m.id WHERE NOT m.current"
    )
    assert conn.execute(history).all() == [("lawn", lawn)]


def test_edit_measures_anew_and_keeps_what_was(conn: Connection, lot_id: int, lawn: int) -> None:
    beyond = square(5, 0, 10, 10)  # half of it inside the lot
    verdicts.edit(conn, lawn, "ann", beyond)
    row = conn.execute(
        text("SELECT area_m2, clipped_area_m2, whole_area_m2 FROM lotline.detection")
    ).one()
    whole_m2 = area_m2(beyond)
    assert row == pytest.approx((whole_m2, whole_m2 / 2, whole_m2), rel=1e-6)
    assert measured_m2(conn, lot_id)["lawn"] == whole_m2
    event = conn.execute(
        text(
            "SELECT ST_AsBinary(geom) AS geom, "
            "ST_AsBinary(CAST(before ->> 'geom' AS geometry)) AS before FROM lotline.review"
        )
    ).one()
    assert shapely.from_wkb(event.geom).equals(beyond)
    assert shapely.from_wkb(event.before).equals(LAWN)


def test_add(conn: Connection, lot_id: int) -> None:
    review = verdicts.add(conn, lot_id, "ann", "pool", Polygon(square(8, 8, 4, 1).geoms[0]))
    assert (review.action, review.state, review.label) == ("add", "accepted", "pool")
    row = conn.execute(
        text(
            "SELECT d.segmenter, d.run_fk, d.chip_sha256 = p.chip_sha256 AS same_chip, "
            "d.clipped_area_m2 / d.area_m2 AS inside "
            "FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk "
            "WHERE d.id = :id"
        ),
        {"id": review.detection_id},
    ).one()
    assert row == ("person", None, True, pytest.approx(0.5))
    assert measured_m2(conn, lot_id)["pool"] == area_m2(square(8, 8, 4, 1))


def test_added_detections_stay_when_the_lot_is_looked_at_again(
    conn: Connection, lot_id: int
) -> None:
    verdicts.add(conn, lot_id, "ann", "tree", DRAWN)
    written = write_lot(conn, begin(conn), lot_id, lot(), found(finding(DRAWN, "tree")))
    assert (written.new, written.suppressed, written.superseded) == (0, 1, 1)
    assert measured_m2(conn, lot_id) == {"lawn": 0.0, "tree": area_m2(DRAWN)}


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (lambda conn, _: verdicts.accept(conn, 10**9, "ann"), "there is no detection"),
        (lambda conn, lawn: verdicts.accept(conn, lawn, " "), "name of the person"),
        (lambda conn, lawn: verdicts.restore(conn, lawn, "ann"), "only a rejected detection"),
        (
            lambda conn, lawn: verdicts.edit(conn, lawn, "ann", LineString([(0, 0), (1, 1)])),
            "outline",
        ),
        (lambda conn, _: verdicts.add(conn, 10**9, "ann", "lawn", DRAWN), "no boundary"),
    ],
)
def test_what_cannot_be_said_is_explained_and_leaves_nothing(
    conn: Connection, lawn: int, say: Callable[[Connection, int], object], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        say(conn, lawn)
    assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar() == 0


def test_a_property_without_a_boundary_cannot_be_added_to(conn: Connection) -> None:
    [lot_id] = queue(conn)
    with pytest.raises(StoreError, match="run a batch first"):
        verdicts.add(conn, lot_id, "ann", "lawn", DRAWN)


def test_a_rejected_one_is_restored_before_anything_else(conn: Connection, lawn: int) -> None:
    verdicts.reject(conn, lawn, "ann")
    for say in (verdicts.accept, verdicts.reject):
        with pytest.raises(StoreError, match="restore it first"):
            say(conn, lawn, "bob")


def test_a_superseded_one_is_not_reviewed(conn: Connection, lot_id: int, lawn: int) -> None:
    write_lot(conn, begin(conn), lot_id, lot(), found())
    with pytest.raises(StoreError, match="superseded by a later run"):
        verdicts.accept(conn, lawn, "ann")


def test_a_fault_after_the_event_leaves_no_event(
    conn: Connection, lot_id: int, lawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(verdicts, "remeasure", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            verdicts.reject(conn, lawn, "ann")
    assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar() == 0
    assert states(conn, lot_id) == ["proposed"]


def test_the_same_key_counts_once_and_is_answered_alike(conn: Connection, lawn: int) -> None:
    first = verdicts.accept(conn, lawn, "ann", idempotency_key="k1", expected_version=1)
    verdicts.reject(conn, lawn, "bob")
    assert verdicts.accept(conn, lawn, "ann", idempotency_key="k1", expected_version=1) == first
    assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar() == 2
    with pytest.raises(StoreError, match="its own key"):
        verdicts.restore(conn, lawn, "ann", idempotency_key="k1")


def test_an_addition_that_is_sent_twice_is_one(conn: Connection, lot_id: int) -> None:
    first = verdicts.add(conn, lot_id, "ann", "tree", DRAWN, idempotency_key="k1")
    assert verdicts.add(conn, lot_id, "ann", "tree", DRAWN, idempotency_key="k1") == first
    assert len(detections(conn, lot_id)) == 2


def test_who_saw_an_older_version_is_told(conn: Connection, lot_id: int, lawn: int) -> None:
    verdicts.edit(conn, lawn, "ann", DRAWN, expected_version=1)
    with pytest.raises(VersionConflict, match="at version 2, not 1"):
        verdicts.reject(conn, lawn, "bob", expected_version=1)
    assert states(conn, lot_id) == ["accepted"]


def test_of_two_people_at_once_one_is_told(database: Database) -> None:
    with database.engine.begin() as conn:
        [lot_id] = queue(conn)
        write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
        lawn = detections(conn, lot_id)[0].id

    def say(name: str) -> str:
        try:
            with database.engine.begin() as conn:
                return verdicts.accept(conn, lawn, name, expected_version=1).reviewer
        except VersionConflict:
            return "conflict"

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(say, ["ann", "bob", "cid", "dee"]))
    assert answers.count("conflict") == 3


def test_the_same_key_at_once_counts_once(database: Database) -> None:
    with database.engine.begin() as conn:
        [lot_id] = queue(conn)
        write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
        lawn = detections(conn, lot_id)[0].id

    def say(_: int) -> int:
        with database.engine.begin() as conn:
            return verdicts.accept(conn, lawn, "ann", idempotency_key="k").id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(say, range(4)))) == 1


# The database itself


REJECTED_CHANGES = [
    "state = 'proposed'", "state = 'accepted'", "state = 'superseded'", "label = 'tree'",
    "geom = ST_Multi(ST_Buffer(geom, 0.0001))", "area_m2 = 1", "score = 0.1", "review_fk = NULL",
]  # fmt: skip


@pytest.mark.parametrize("change", REJECTED_CHANGES)
def test_nobody_changes_a_rejected_detection(
    conn: Connection, lot_id: int, lawn: int, change: str
) -> None:
    verdicts.reject(conn, lawn, "ann")
    said = _refused(conn, f"UPDATE lotline.detection SET {change}")
    assert "stays rejected" in said
    assert "'restore'" in said
    # Nor with a word that is no restore, or a restore that is older than the last reject.
    _say(conn, lawn, "accept")
    assert "stays rejected" in _refused(conn, f"UPDATE lotline.detection SET {change}")
    verdicts.restore(conn, lawn, "ann")
    verdicts.reject(conn, lawn, "ann")
    assert "stays rejected" in _refused(conn, f"UPDATE lotline.detection SET {change}")
    assert states(conn, lot_id) == ["rejected"]


def test_a_restore_by_hand_is_a_restore(conn: Connection, lot_id: int, lawn: int) -> None:
    verdicts.reject(conn, lawn, "ann")
    _say(conn, lawn, "restore")
    conn.execute(text("UPDATE lotline.detection SET state = 'proposed'"))
    assert states(conn, lot_id) == ["proposed"]
    said = _refused(conn, "UPDATE lotline.detection SET state = 'superseded'")
    assert "reviewed by a person" in said


def test_a_restore_of_another_detection_does_not_count(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN), finding(LAWN, "tree")))
    lawn, tree = (row.id for row in detections(conn, lot_id))
    verdicts.reject(conn, lawn, "ann")
    verdicts.reject(conn, tree, "ann")
    _say(conn, tree, "restore")
    said = _refused(conn, "UPDATE lotline.detection SET state = 'proposed' WHERE id = :id", id=lawn)
    assert "stays rejected" in said


@pytest.mark.parametrize("state", ["rejected", "accepted"])
def test_a_verdict_has_a_person_behind_it(conn: Connection, state: str) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    assert "by nobody" in _refused(conn, f"UPDATE lotline.detection SET state = '{state}'")
    said = _refused(
        conn,
        "INSERT INTO lotline.review (detection_fk, action, reviewer) "
        "SELECT id, 'reject', '' FROM lotline.detection",
    )
    assert "review_reviewer_check" in said


@pytest.mark.parametrize("change", REJECTED_CHANGES[1:])
def test_no_run_changes_what_was_accepted(conn: Connection, lawn: int, change: str) -> None:
    verdicts.accept(conn, lawn, "ann")
    said = _refused(conn, f"UPDATE lotline.detection SET {change}")
    assert "not changed by a run" in said
    assert "Write a new review" in said


def test_a_detection_starts_as_proposed(conn: Connection, lawn: int) -> None:
    columns = (
        "property_fk, boundary_fk, run_fk, chip_sha256, label, prompt, segmenter, score, "
        "relation, geom, area_m2, clipped_area_m2, whole_area_m2"
    )
    said = _refused(
        conn,
        f"INSERT INTO lotline.detection ({columns}, fingerprint, state) "
        f"SELECT {columns}, 'f', 'accepted' FROM lotline.detection",
    )
    assert "it starts as proposed" in said


def test_history_is_not_rewritten(conn: Connection, lawn: int) -> None:
    verdicts.accept(conn, lawn, "ann")
    for statement in (
        "UPDATE lotline.review SET reviewer = 'bob'",
        "DELETE FROM lotline.review",
        "TRUNCATE lotline.review CASCADE",
        "DELETE FROM lotline.boundary",
    ):
        assert "never changed" in _refused(conn, statement)
    for statement in ("DELETE FROM lotline.detection", "TRUNCATE lotline.detection CASCADE"):
        assert "deleting is a state, not a DELETE" in _refused(conn, statement)


def test_a_superseded_one_stays_history(conn: Connection, lot_id: int, lawn: int) -> None:
    write_lot(conn, begin(conn), lot_id, lot(), found())
    _say(conn, lawn, "accept")
    said = _refused(conn, "UPDATE lotline.detection SET state = 'accepted'")
    assert "was superseded" in said


def test_a_detection_stays_on_its_property(conn: Connection) -> None:
    first, second = queue(conn, 2)
    run = begin(conn)
    write_lot(conn, run, first, lot(), found(finding(LAWN)))
    said = _refused(conn, "UPDATE lotline.detection SET property_fk = :second", second=second)
    assert "cannot move" in said
    write_lot(conn, run, second, lot(), found())
    said = _refused(
        conn,
        "UPDATE lotline.property SET boundary_fk = "
        "(SELECT boundary_fk FROM lotline.property WHERE id = :first) WHERE id = :second",
        first=first,
        second=second,
    )
    assert "foreign key" in said
