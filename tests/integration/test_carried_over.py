"""What a person accepted is carried over to the lots that took the place of its lot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import shapely
from lots import (
    lease_to,
    load_properties,
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
from sqlalchemy import Connection, text

from parcels.boundary import Boundary
from parcels.measure import area_m2
from pipeline.store.database import Database
from pipeline.store.results.merge import write_chunk
from pipeline.store.results.outcomes import NotProcessed, WriteResult
from pipeline.store.reviews import verdicts
from pipeline.store.reviews.carried_over import carry_over

COUNTY = "synthetic"
LAWN = square(1, 1, 8, 4)
WHOLE, LEFT, RIGHT = square(0, 0, 10, 10), square(0, 0, 3.5, 10), square(3.5, 0, 6.5, 10)

Do = Callable[[Connection], Any]


def _lot(geometry: MultiPolygon) -> Boundary:
    return Boundary(geometry, "lot", area_m2(geometry), "point", "synthetic", ("p-1",))


def _find(
    conn: Connection, key: int, lot: MultiPolygon, *found: MultiPolygon, label: str = "lawn"
) -> WriteResult:
    """A new run finds these outlines, clipped to the lot."""
    inside = [MultiPolygon([shapely.intersection(each, lot)]) for each in found]
    result = make_result(*(make_detection(each, label) for each in inside))
    return write_lot(conn, start_run(conn, [label]), key, _lot(lot), result)


def _vanish(conn: Connection, key: int) -> None:
    lease_to(conn, [key])
    gone = NotProcessed(key, "failed", "not_found", "no lot")
    write_chunk(conn, start_run(conn), [gone], "worker")


def _do(database: Database, *steps: Do) -> list[Any]:
    """Each step in a transaction of its own."""
    results = []
    for step in steps:
        with database.engine.begin() as conn:
            results.append(step(conn))
    return results


def _accepted(conn: Connection, lot: MultiPolygon = WHOLE, found: MultiPolygon = LAWN) -> list[int]:
    """Keys of three properties; a person accepted a lawn on the first one."""
    keys = load_properties(conn, 3)
    _find(conn, keys[0], lot, found)
    verdicts.accept(conn, read_detections(conn, keys[0])[0].id, "ann")
    return keys


@pytest.mark.parametrize("order", ["old lot first", "new lot first"])
@pytest.mark.parametrize("fate", ["replaced", "vanished"])
def test_the_new_lot_of_a_split_gets_its_part(database: Database, order: str, fate: str) -> None:
    [[old, new, _]] = _do(database, _accepted)

    def write_old(conn: Connection) -> None:
        if fate == "replaced":
            _find(conn, old, LEFT, LAWN)
        else:
            _vanish(conn, old)

    def write_new(conn: Connection) -> None:
        _find(conn, new, RIGHT, LAWN)

    _do(database, *((write_old, write_new) if order == "old lot first" else (write_new, write_old)))
    assert carry_over(database.engine, COUNTY) == 1
    assert carry_over(database.engine, COUNTY) == 0
    with database.engine.begin() as conn:
        proposed, copy = read_detections(conn, new)
        assert (proposed.state, copy.state) == ("superseded", "accepted")
        part = LAWN.intersection(RIGHT)
        assert shapely.from_wkb(copy.geom).equals(part)
        assert read_areas_m2(conn, new)["lawn"] == pytest.approx(area_m2(part))
        review = conn.execute(
            text("SELECT action, reviewer, note FROM lotline.review WHERE detection_fk = :id"),
            {"id": copy.id},
        ).one()
        first = read_detections(conn, old)[0].id
        assert (review.action, review.reviewer) == ("accept", "ann")
        assert f"detection {first} of p0, accepted by ann" in review.note
        again = _find(conn, new, RIGHT, LAWN)
        assert (again.new, again.superseded, again.suppressed) == (0, 0, 1)


def test_a_merged_lot_gets_what_was_accepted_on_both(database: Database) -> None:
    def before(conn: Connection) -> list[int]:
        keys = _accepted(conn)
        _find(conn, keys[1], shifted(WHOLE, 10), shifted(LAWN, 10))
        verdicts.edit(conn, read_detections(conn, keys[1])[0].id, "bob", shifted(LAWN, 10.5))
        return keys

    [[one, other, merged]] = _do(database, before)
    both = square(0, 0, 20, 10)
    _do(
        database,
        lambda conn: _find(conn, merged, both, LAWN, shifted(LAWN, 10)),
        lambda conn: _vanish(conn, one),
        lambda conn: _vanish(conn, other),
    )
    assert carry_over(database.engine, COUNTY) == 2
    with database.engine.begin() as conn:
        assert sorted(read_states(conn, merged)) == ["accepted"] * 2 + ["superseded"] * 2
        assert read_areas_m2(conn, merged)["lawn"] == pytest.approx(
            area_m2(LAWN) + area_m2(shifted(LAWN, 10.5)), rel=1e-4
        )
        assert _find(conn, merged, both, LAWN, shifted(LAWN, 10)).suppressed == 2


@pytest.mark.parametrize("action", ["reject", "edit", "relabel"])
def test_what_people_do_to_the_copy_stands(database: Database, action: str) -> None:
    [[old, new, _]] = _do(database, _accepted)
    _do(
        database,
        lambda conn: _find(conn, old, LEFT, LAWN),
        lambda conn: _find(conn, new, RIGHT),
    )
    assert carry_over(database.engine, COUNTY) == 1

    def review(conn: Connection) -> None:
        [copy] = read_detections(conn, new)
        more = {"edit": [square(4, 1, 2, 2)], "relabel": ["tree"]}.get(action, [])
        getattr(verdicts, action)(conn, copy.id, "bob", *more)

    _do(database, review)
    assert carry_over(database.engine, COUNTY) == 0
    with database.engine.begin() as conn:
        assert _find(conn, new, RIGHT, LAWN).suppressed == 1
    assert carry_over(database.engine, COUNTY) == 0


def test_ground_that_people_denied_on_the_new_lot_is_not_carried(database: Database) -> None:
    [[old, new, _]] = _do(database, _accepted)

    def reject_there(conn: Connection) -> None:
        _find(conn, new, RIGHT, LAWN)
        verdicts.reject(conn, read_detections(conn, new)[0].id, "bob")

    _do(database, reject_there, lambda conn: _find(conn, old, LEFT, LAWN))
    assert carry_over(database.engine, COUNTY) == 0


def test_a_lot_that_is_split_again_gets_one_copy(database: Database) -> None:
    [[old, new, newest]] = _do(database, _accepted)
    corner = square(6, 0, 4, 10)
    _do(
        database,
        lambda conn: _find(conn, old, LEFT, LAWN),
        lambda conn: _find(conn, new, RIGHT, LAWN),
    )
    assert carry_over(database.engine, COUNTY) == 1
    _do(
        database,
        lambda conn: _find(conn, new, square(3.5, 0, 2.5, 10), LAWN),
        lambda conn: _find(conn, newest, corner, LAWN),
    )
    assert carry_over(database.engine, COUNTY) == 1
    assert carry_over(database.engine, COUNTY) == 0
    with database.engine.connect() as conn:
        live = [row for row in read_detections(conn, newest) if row.state == "accepted"]
        assert [area_m2(shapely.from_wkb(row.geom)) for row in live] == pytest.approx([
            area_m2(LAWN.intersection(corner))
        ])  # fmt: skip


@pytest.mark.parametrize("metres", [0.5, 1.4])
def test_a_lot_line_that_moves_a_little_carries_nothing(database: Database, metres: float) -> None:
    step = metres / 9.1  # metres of longitude in a step
    lawn = square(1, 1, 9, 4)  # up to the lot line
    [[old, new, _]] = _do(database, lambda conn: _accepted(conn, WHOLE, lawn))
    _do(
        database,
        lambda conn: _find(conn, old, square(0, 0, 10 - step, 10), lawn),
        lambda conn: _find(conn, new, square(10 - step, 0, 10, 10)),
    )
    assert carry_over(database.engine, COUNTY) == 0


def test_properties_that_share_the_new_lot_measure_their_own(database: Database) -> None:
    """The old property is in the same lot still: nothing took its place."""
    [[old, twin, _]] = _do(database, _accepted)
    wider = square(0, 0, 12, 10)
    _do(
        database,
        lambda conn: _find(conn, old, wider, LAWN),
        lambda conn: _find(conn, twin, wider, LAWN),
    )
    assert carry_over(database.engine, COUNTY) == 0


def test_nothing_is_carried_while_the_old_lot_is_what_it_was(database: Database) -> None:
    """A lot that overlaps another one has not taken its place; a circle never has."""
    [[old, over, circle]] = _do(database, _accepted)
    round_ground = square(-2, -2, 14, 14)
    buffer = Boundary(round_ground, "buffer_30m", area_m2(round_ground), "no_lot", "synthetic", ())
    _do(
        database,
        lambda conn: _find(conn, over, square(2, 0, 6, 6), LAWN),
        lambda conn: write_lot(conn, start_run(conn), circle, buffer, make_result()),
    )
    assert carry_over(database.engine, COUNTY) == 0
    _do(database, lambda conn: _vanish(conn, old))
    assert carry_over(database.engine, COUNTY) == 1
    with database.engine.connect() as conn:
        assert read_states(conn, circle) == []
