"""The queue: loading, leasing, and states without a result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lots import COUNTY, LAT, LON, STEP, begin, queue
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from parcels.boundary import Property
from pipeline.store import properties
from pipeline.store.database import Database
from pipeline.store.properties import Loaded


def _states(conn: Connection) -> dict[str, tuple[str, str]]:
    rows = conn.execute(text("SELECT property_id, state, reason FROM lotline.property"))
    return {row.property_id: (row.state, row.reason) for row in rows}


def _expire(conn: Connection) -> None:
    conn.execute(
        text(
            "UPDATE lotline.property SET leased_until = now() - interval '1 s' "
            "WHERE state = 'leased'"
        )
    )


def _lease(conn: Connection, run_id: int, limit: int = 100, **more: Any) -> list[str]:
    taken = properties.lease(
        conn, COUNTY, more.pop("owner", "a"), limit, 60, more.pop("ids", None), run_id
    )
    return [item.property.property_id for item in taken]


def test_loading_says_what_is_new_changed_and_as_it_was(conn: Connection) -> None:
    first = [Property("a", LON, LAT), Property("b", parcel_id="17"), Property("c", LON, LAT)]
    assert properties.load(conn, COUNTY, first) == Loaded(3, 0, 0)
    assert properties.load(conn, COUNTY, first) == Loaded(0, 0, 3)
    moved = [Property("a", LON + STEP, LAT), Property("b", parcel_id="17", address="1 Elm St")]
    assert properties.load(conn, COUNTY, [*moved, Property("d", LON, LAT)]) == Loaded(1, 2, 0)
    assert properties.load(conn, "another", first) == Loaded(3, 0, 0)


def test_what_changed_is_pending_again_and_the_rest_stays(conn: Connection) -> None:
    ids = queue(conn, 2)
    properties.finish(conn, ids, "failed", "outside_county", "far away")
    properties.load(conn, COUNTY, [Property("p0", LON, LAT), Property("p1", LON, LAT + STEP)])
    assert _states(conn) == {"p0": ("failed", "outside_county"), "p1": ("pending", "")}


def test_of_one_id_twice_the_last_counts(conn: Connection) -> None:
    twice = [Property("a", LON, LAT), Property("a", LON, LAT + 1)]
    assert properties.load(conn, COUNTY, twice) == Loaded(1, 0, 0)
    run = begin(conn)
    [leased] = properties.lease(conn, COUNTY, "a", 1, 60, None, run.id)
    assert leased.property == twice[1]


def test_a_property_comes_back_as_it_was_loaded(conn: Connection) -> None:
    loaded = [
        Property("x", parcel_id="0 17", address="1 Elm\tSt\n"),
        Property("ü,\\N", LON, LAT, "", None),
    ]
    properties.load(conn, COUNTY, loaded)
    leased = properties.lease(conn, COUNTY, "a", 5, 60, None, begin(conn).id)
    assert sorted((item.property for item in leased), key=lambda p: p.property_id) == loaded


def test_neighbours_are_leased_together(conn: Connection) -> None:
    corners = [(LON, LAT), (LON + 1, LAT + 1)]
    properties.load(
        conn,
        COUNTY,
        [
            Property(f"{i}{corner}", x + i * STEP / 100, y)
            for i in range(5)
            for corner, (x, y) in zip("ab", corners, strict=True)
        ],
    )
    taken = _lease(conn, begin(conn).id, limit=5)
    assert len({name[1] for name in taken}) == 1


def test_a_lease_is_given_to_one_owner_until_it_runs_out(conn: Connection) -> None:
    queue(conn, 3)
    run = begin(conn)
    assert sorted(_lease(conn, run.id, limit=2) + _lease(conn, run.id)) == ["p0", "p1", "p2"]
    assert _lease(conn, run.id, owner="b") == []
    assert properties.count_unprocessed(conn, COUNTY) == 0
    _expire(conn)
    assert properties.count_unprocessed(conn, COUNTY) == 3
    again = properties.lease(conn, COUNTY, "b", 9, 60, None, run.id)
    assert [item.attempts for item in again] == [2, 2, 2]


def test_no_property_goes_to_two_owners_at_once(database: Database) -> None:
    with database.engine.begin() as conn:
        queue(conn, 400)
        run = begin(conn)

    def take_all(owner: str) -> list[str]:
        taken: list[str] = []
        while True:
            with database.engine.begin() as conn:
                leased = _lease(conn, run.id, limit=7, owner=owner)
            if not leased:
                return taken
            taken += leased

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take_all, "abcd"))
    everything = sorted(name for names in taken for name in names)
    assert everything == sorted(f"p{i}" for i in range(400))


def test_who_is_leasing_is_not_waited_for(database: Database) -> None:
    with database.engine.begin() as conn:
        queue(conn, 4)
        run = begin(conn)
    with database.engine.connect() as first, database.engine.connect() as second:
        second.execute(text("SET lock_timeout = '1ms'"))
        assert len(_lease(first, run.id, limit=3, owner="a")) == 3
        assert len(_lease(second, run.id, limit=3, owner="b")) == 1


def test_what_a_run_deferred_is_left_to_the_next(conn: Connection) -> None:
    ids = queue(conn, 2)
    run = begin(conn)
    _lease(conn, run.id)
    properties.finish(conn, ids[:1], "deferred", "unavailable", "HTTP 503")
    properties.finish(conn, ids[1:], "pending")
    assert properties.count_unprocessed(conn, COUNTY) == 2
    assert _lease(conn, run.id) == ["p1"]
    assert _lease(conn, begin(conn).id) == ["p0"]


def test_only_the_chosen_are_leased_counted_and_reset(conn: Connection) -> None:
    ids = queue(conn, 4)
    run = begin(conn)
    assert properties.count_unprocessed(conn, COUNTY, ["p1", "p3", "unknown"]) == 2
    assert sorted(_lease(conn, run.id, ids=["p1", "p3"])) == ["p1", "p3"]
    assert properties.count_unprocessed(conn, COUNTY, []) == 0
    properties.finish(conn, ids, "failed", "not_found", "")
    assert properties.reset(conn, COUNTY, ["p0"]) == 1
    assert properties.reset(conn, COUNTY, []) == 0
    assert properties.reset(conn, COUNTY) == 3
    assert properties.count_unprocessed(conn, COUNTY) == 4


def test_a_hundred_thousand_ids_are_one_argument(conn: Connection) -> None:
    queue(conn, 3)
    many = [f"other{i}" for i in range(100_000)] + ["p2"]
    assert properties.count_unprocessed(conn, COUNTY, many) == 1
    assert _lease(conn, begin(conn).id, ids=many) == ["p2"]


def test_what_is_being_worked_on_is_not_reset(conn: Connection) -> None:
    queue(conn, 2)
    _lease(conn, begin(conn).id, limit=1)
    assert properties.reset(conn, COUNTY) == 0
    _expire(conn)
    assert properties.reset(conn, COUNTY) == 1


def test_counties_do_not_share_a_queue(conn: Connection) -> None:
    queue(conn, 2)
    queue(conn, 3, "another")
    assert properties.count_unprocessed(conn, "another") == 3
    assert len(_lease(conn, begin(conn).id)) == 2


@pytest.mark.parametrize("values", ["'gone', '', NULL, NULL", "'leased', '', NULL, NULL"])
def test_the_database_knows_the_states(conn: Connection, values: str) -> None:
    insert = (
        "INSERT INTO lotline.property (county, property_id, parcel_id, state, reason, "
        f"lease_owner, leased_until) VALUES ('c', 'p', '1', {values})"
    )
    with pytest.raises(DBAPIError, match=r"property_.*_check"):
        conn.execute(text(insert))
