"""Reviews are never lost: through the functions, and by triggers in the database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import shapely
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
from shapely import LineString, Polygon
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from parcels.measure import area_m2
from pipeline.errors import StoreError, VersionConflict
from pipeline.store.database import Database
from pipeline.store.reviews import events, verdicts

LAWN = square(1, 1, 6, 4)
DRAWN = square(1, 1, 3, 4)


@pytest.fixture
def lot_id(conn: Connection) -> int:
    """A property with one proposed lawn."""
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    return lot_id


@pytest.fixture
def lawn(conn: Connection, lot_id: int) -> int:
    """The id of that lawn."""
    return int(read_detections(conn, lot_id)[0].id)


def _refused(conn: Connection, statement: str, **values: Any) -> str:
    """The database's error for a statement that it refuses."""
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():
        conn.execute(text(statement), values)
    return str(caught.value.orig)


def _say(conn: Connection, detection_id: int, action: str) -> None:
    """Insert a review in SQL, without the functions."""
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
    [row] = read_detections(conn, lot_id)
    assert (row.state, row.version, row.review_fk) == ("accepted", 2, review.id)
    assert read_areas_m2(conn, lot_id)["lawn"] == area_m2(LAWN)


def test_reject_and_restore(conn: Connection, lot_id: int, lawn: int) -> None:
    assert verdicts.reject(conn, lawn, "ann").state == "rejected"
    assert read_areas_m2(conn, lot_id)["lawn"] == 0
    assert verdicts.restore(conn, lawn, "bob").state == "proposed"
    assert read_areas_m2(conn, lot_id)["lawn"] == area_m2(LAWN)
    assert verdicts.reject(conn, lawn, "ann").version == 4
    assert read_states(conn, lot_id) == ["rejected"]


def test_relabel_measures_both_labels(conn: Connection, lot_id: int, lawn: int) -> None:
    assert verdicts.relabel(conn, lawn, "ann", "tree").label == "tree"
    assert read_areas_m2(conn, lot_id) == {"lawn": 0.0, "tree": area_m2(LAWN)}
    # The earlier measurement still lists what it counted.
    history = text(
        "SELECT m.label, d.detection_fk FROM lotline.measurement m "
        "JOIN lotline.measurement_detection d ON d.measurement_fk = m.id WHERE NOT m.current"
    )
    assert conn.execute(history).all() == [("lawn", lawn)]


def test_edit_measures_again_and_stores_the_earlier_outline(
    conn: Connection, lot_id: int, lawn: int
) -> None:
    beyond = square(5, 0, 10, 10)  # half of it inside the lot
    verdicts.edit(conn, lawn, "ann", beyond)
    row = conn.execute(
        text("SELECT area_m2, clipped_area_m2, whole_area_m2 FROM lotline.detection")
    ).one()
    whole_m2 = area_m2(beyond)
    assert row == pytest.approx((whole_m2, whole_m2 / 2, whole_m2), rel=1e-6)
    assert read_areas_m2(conn, lot_id)["lawn"] == whole_m2
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
    assert read_areas_m2(conn, lot_id)["pool"] == area_m2(square(8, 8, 4, 1))


def test_added_detections_stay_after_a_later_run(conn: Connection, lot_id: int) -> None:
    verdicts.add(conn, lot_id, "ann", "tree", DRAWN)
    written = write_lot(
        conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(DRAWN, "tree"))
    )
    assert (written.new, written.suppressed, written.superseded) == (0, 1, 1)
    assert read_areas_m2(conn, lot_id) == {"lawn": 0.0, "tree": area_m2(DRAWN)}


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
    [lot_id] = load_properties(conn)
    with pytest.raises(StoreError, match="run a batch first"):
        verdicts.add(conn, lot_id, "ann", "lawn", DRAWN)


def test_a_rejected_one_is_restored_before_anything_else(conn: Connection, lawn: int) -> None:
    verdicts.reject(conn, lawn, "ann")
    for say in (verdicts.accept, verdicts.reject):
        with pytest.raises(StoreError, match="restore it first"):
            say(conn, lawn, "bob")


def test_a_superseded_one_is_not_reviewed(conn: Connection, lot_id: int, lawn: int) -> None:
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result())
    with pytest.raises(StoreError, match="is superseded"):
        verdicts.accept(conn, lawn, "ann")


def test_failed_review_leaves_no_event(
    conn: Connection, lot_id: int, lawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(events, "remeasure", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            verdicts.reject(conn, lawn, "ann")
    assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar() == 0
    assert read_states(conn, lot_id) == ["proposed"]


def test_repeated_idempotency_key_returns_the_first_review(conn: Connection, lawn: int) -> None:
    first = verdicts.accept(conn, lawn, "ann", idempotency_key="k1", expected_version=1)
    verdicts.reject(conn, lawn, "bob")
    assert verdicts.accept(conn, lawn, "ann", idempotency_key="k1", expected_version=1) == first
    assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar() == 2
    with pytest.raises(StoreError, match="its own key"):
        verdicts.restore(conn, lawn, "ann", idempotency_key="k1")


def test_repeated_add_with_the_same_key_adds_one_detection(conn: Connection, lot_id: int) -> None:
    first = verdicts.add(conn, lot_id, "ann", "tree", DRAWN, idempotency_key="k1")
    assert verdicts.add(conn, lot_id, "ann", "tree", DRAWN, idempotency_key="k1") == first
    assert len(read_detections(conn, lot_id)) == 2


def test_review_of_an_older_version_is_a_conflict(conn: Connection, lot_id: int, lawn: int) -> None:
    verdicts.edit(conn, lawn, "ann", DRAWN, expected_version=1)
    with pytest.raises(VersionConflict, match="at version 2, not 1"):
        verdicts.reject(conn, lawn, "bob", expected_version=1)
    assert read_states(conn, lot_id) == ["accepted"]


def test_concurrent_reviews_of_one_version_conflict(database: Database) -> None:
    with database.engine.begin() as conn:
        [lot_id] = load_properties(conn)
        write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
        lawn = read_detections(conn, lot_id)[0].id

    def say(name: str) -> str:
        try:
            with database.engine.begin() as conn:
                return verdicts.accept(conn, lawn, name, expected_version=1).reviewer
        except VersionConflict:
            return "conflict"

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(say, ["ann", "bob", "cid", "dee"]))
    assert answers.count("conflict") == 3


def test_concurrent_reviews_with_one_key_count_once(database: Database) -> None:
    with database.engine.begin() as conn:
        [lot_id] = load_properties(conn)
        write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
        lawn = read_detections(conn, lot_id)[0].id

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
def test_trigger_protects_rejected_detections(
    conn: Connection, lot_id: int, lawn: int, change: str
) -> None:
    verdicts.reject(conn, lawn, "ann")
    said = _refused(conn, f"UPDATE lotline.detection SET {change}")
    assert "stays rejected" in said
    assert "'restore'" in said
    # Nor with a review that is not a restore, or a restore older than the last reject.
    _say(conn, lawn, "accept")
    assert "stays rejected" in _refused(conn, f"UPDATE lotline.detection SET {change}")
    verdicts.restore(conn, lawn, "ann")
    verdicts.reject(conn, lawn, "ann")
    assert "stays rejected" in _refused(conn, f"UPDATE lotline.detection SET {change}")
    assert read_states(conn, lot_id) == ["rejected"]


def test_trigger_accepts_a_restore_written_in_sql(conn: Connection, lot_id: int, lawn: int) -> None:
    verdicts.reject(conn, lawn, "ann")
    _say(conn, lawn, "restore")
    conn.execute(text("UPDATE lotline.detection SET state = 'proposed'"))
    assert read_states(conn, lot_id) == ["proposed"]
    said = _refused(conn, "UPDATE lotline.detection SET state = 'superseded'")
    assert "reviewed by a person" in said


def test_trigger_requires_a_restore_of_the_same_detection(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(LAWN, "tree")),
    )
    lawn, tree = (row.id for row in read_detections(conn, lot_id))
    verdicts.reject(conn, lawn, "ann")
    verdicts.reject(conn, tree, "ann")
    _say(conn, tree, "restore")
    said = _refused(conn, "UPDATE lotline.detection SET state = 'proposed' WHERE id = :id", id=lawn)
    assert "stays rejected" in said


@pytest.mark.parametrize("state", ["rejected", "accepted"])
def test_trigger_requires_a_reviewer(conn: Connection, state: str) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    assert "by nobody" in _refused(conn, f"UPDATE lotline.detection SET state = '{state}'")
    said = _refused(
        conn,
        "INSERT INTO lotline.review (detection_fk, action, reviewer) "
        "SELECT id, 'reject', '' FROM lotline.detection",
    )
    assert "review_reviewer_check" in said


@pytest.mark.parametrize("change", REJECTED_CHANGES[1:])
def test_trigger_protects_accepted_detections_from_runs(
    conn: Connection, lawn: int, change: str
) -> None:
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


def test_triggers_keep_history_append_only(conn: Connection, lawn: int) -> None:
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


def test_superseded_detection_cannot_be_accepted(conn: Connection, lot_id: int, lawn: int) -> None:
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result())
    _say(conn, lawn, "accept")
    said = _refused(conn, "UPDATE lotline.detection SET state = 'accepted'")
    assert "was superseded" in said


def test_a_detection_stays_on_its_property(conn: Connection) -> None:
    first, second = load_properties(conn, 2)
    run = start_run(conn)
    write_lot(conn, run, first, make_boundary(), make_result(make_detection(LAWN)))
    said = _refused(conn, "UPDATE lotline.detection SET property_fk = :second", second=second)
    assert "cannot move" in said
    write_lot(conn, run, second, make_boundary(), make_result())
    said = _refused(
        conn,
        "UPDATE lotline.property SET boundary_fk = "
        "(SELECT boundary_fk FROM lotline.property WHERE id = :first) WHERE id = :second",
        first=first,
        second=second,
    )
    assert "foreign key" in said
