"""The queue: leases, waiting properties, retries and resets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from lots import COUNTY, LAT, LON, STEP, end_run, load_properties, set_state, start_run
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from parcels.boundary import Property
from pipeline.store.database import Database
from pipeline.store.queue import loading, retry_policy
from pipeline.store.queue import states as states_module
from pipeline.store.queue.leases import LeaseScan
from pipeline.store.queue.selection import WHOLE_COUNTY, Selection
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.runs import lifecycle


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


def _sweep(run: RunInfo, owner: str = "a", selection: Selection = WHOLE_COUNTY) -> LeaseScan:
    return LeaseScan(COUNTY, owner, run.id, 60, selection)


def _lease(
    conn: Connection,
    run: RunInfo,
    limit: int = 100,
    owner: str = "a",
    selection: Selection = WHOLE_COUNTY,
) -> list[str]:
    taken = _sweep(run, owner, selection).lease(conn, limit)
    return [item.property.property_id for item in taken]


def _list(conn: Connection, names: Sequence[str]) -> Selection:
    """A list of some of the properties that `load_properties` loaded."""
    places = [Property(name, LON + int(name[1:]) * STEP, LAT) for name in names]
    sha256 = hashlib.sha256(" ".join(names).encode()).hexdigest()
    listed = loading.load_list(conn, COUNTY, sha256, enumerate(places, 2))
    return Selection(listed.id)


def test_neighbours_are_leased_together(conn: Connection) -> None:
    corners = [(LON, LAT), (LON + 1, LAT + 1)]
    loading.load(
        conn,
        COUNTY,
        [
            Property(f"{i}{corner}", x + i * STEP / 100, y)
            for i in range(5)
            for corner, (x, y) in zip("ab", corners, strict=True)
        ],
    )
    taken = _lease(conn, start_run(conn), limit=5)
    assert len({name[1] for name in taken}) == 1


def test_leased_property_equals_the_loaded_one(conn: Connection) -> None:
    loaded = [
        Property("x", parcel_id="0 17", address="1 Elm\tSt\n"),
        Property("ü,\\N", LON, LAT, "", None),
    ]
    loading.load(conn, COUNTY, loaded)
    leased = _sweep(start_run(conn)).lease(conn, 5)
    assert sorted((item.property for item in leased), key=lambda p: p.property_id) == loaded


def test_lease_has_one_owner_until_it_expires(conn: Connection) -> None:
    load_properties(conn, 3)
    run, rival = start_run(conn), start_run(conn)
    assert sorted(_lease(conn, run, limit=2) + _lease(conn, run)) == ["p0", "p1", "p2"]
    assert _lease(conn, rival, owner="b") == []
    assert states_module.count_waiting(conn, COUNTY) == 0
    _expire(conn)
    assert states_module.count_waiting(conn, COUNTY) == 3
    assert _lease(conn, run) == [], "a run never leases a property twice"
    assert [item.attempts for item in _sweep(rival, "b").lease(conn, 9)] == [1, 1, 1]


def test_released_lease_does_not_count_as_an_attempt(conn: Connection) -> None:
    load_properties(conn, 2)
    _lease(conn, start_run(conn))
    states_module.release(conn, "a")
    assert [item.attempts for item in _sweep(start_run(conn)).lease(conn, 9)] == [1, 1]


def test_renew_skips_locked_rows(database: Database) -> None:
    with database.engine.begin() as conn:
        ids = load_properties(conn, 3)
        _lease(conn, start_run(conn))
        _expire(conn)
    held = text("SELECT id FROM lotline.property WHERE id = :id FOR NO KEY UPDATE")
    with database.engine.connect() as writer, database.engine.begin() as conn:
        writer.execute(held, {"id": ids[0]})
        conn.execute(text("SET LOCAL lock_timeout = '1ms'"))
        states_module.renew(conn, "a", 60)
        assert states_module.count_waiting(conn, COUNTY) == 1


def test_scan_continues_at_its_cursor_and_starts_over_for_released_properties(
    conn: Connection,
) -> None:
    loading.load(conn, COUNTY, [Property(f"a{i}", address=f"{i} Elm St") for i in range(3)])
    ids = load_properties(conn, 5)[3:]
    assert _lease(conn, start_run(conn), limit=3, owner="rival") == ["p0", "p1", "p2"]
    sweep = _sweep(start_run(conn))

    def take() -> list[str]:
        return [item.property.property_id for item in sweep.lease(conn, 2)]

    assert take() == ["p3", "p4"]
    set_state(conn, ids[:1], "pending")
    set_state(conn, ids[3:4], "pending")
    assert [take(), take()] == [["a0", "a1"], ["a2"]]
    assert take() == ["p0"], "released by another batch"
    assert take() == [], "it has leased p3 before"
    set_state(conn, ids[2:3], "pending")
    assert take() == ["p2"]


def test_concurrent_scans_never_lease_a_property_twice(database: Database) -> None:
    with database.engine.begin() as conn:
        load_properties(conn, 400)
        run = start_run(conn)

    def take_all(owner: str) -> list[str]:
        taken: list[str] = []
        sweep = _sweep(run, owner)
        while True:
            with database.engine.begin() as conn:
                leased = sweep.lease(conn, 7)
            if not leased:
                return taken
            taken += [item.property.property_id for item in leased]

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take_all, "abcd"))
    everything = sorted(name for names in taken for name in names)
    assert everything == sorted(f"p{i}" for i in range(400))


def test_lease_skips_rows_locked_by_another_lease(database: Database) -> None:
    with database.engine.begin() as conn:
        load_properties(conn, 4)
        run = start_run(conn)
    with database.engine.connect() as first, database.engine.connect() as second:
        second.execute(text("SET lock_timeout = '1ms'"))
        assert len(_lease(first, run, limit=3, owner="a")) == 3
        assert len(_lease(second, run, limit=3, owner="b")) == 1


def test_a_lease_costs_the_same_in_a_long_queue(conn: Connection) -> None:
    """Independent of statistics, which are missing for tables that were just filled."""
    load_properties(conn, 3_000)
    conn.execute(text("UPDATE lotline.property SET state = 'done' WHERE id % 3 <> 0"))
    selection = _list(conn, [f"p{i}" for i in range(0, 3_000, 2)])
    blocks: list[int] = []
    for chosen in (WHOLE_COUNTY, selection):
        sweep = _sweep(start_run(conn), selection=chosen)
        while True:
            before = _blocks_read(conn)
            if not sweep.lease(conn, 50):
                break
            blocks.append(_blocks_read(conn) - before)
        states_module.release(conn, "a")
    assert len(blocks) == 20 + 10
    first, last = blocks[1:5], blocks[15:19]
    assert sum(last) < 2 * sum(first), "the cost of a lease grows"


def _blocks_read(conn: Connection) -> int:
    """Blocks of the queue's table and indexes that this transaction has read so far."""
    counted = text("""
        SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class
        WHERE oid = 'lotline.property'::regclass OR oid IN (
            SELECT indexrelid FROM pg_index WHERE indrelid = 'lotline.property'::regclass)
    """)
    return int(conn.execute(counted).scalar_one())


def test_deferred_property_waits_until_its_run_has_ended(conn: Connection) -> None:
    ids = load_properties(conn, 2)
    run, rival = start_run(conn), start_run(conn)
    _lease(conn, run)
    set_state(conn, ids[:1], "deferred", "unavailable")
    set_state(conn, ids[1:], "pending")
    assert states_module.count_waiting(conn, COUNTY) == 1
    assert _lease(conn, rival) == ["p1"]
    assert _lease(conn, rival) == [], "its server has just failed"
    end_run(conn, run)
    assert states_module.count_waiting(conn, COUNTY) == 1
    assert _lease(conn, start_run(conn)) == ["p0"]


def test_failed_segmenter_is_retried_up_to_three_attempts(conn: Connection) -> None:
    ids = load_properties(conn, 2)
    for _ in range(3):
        run = start_run(conn)
        assert _lease(conn, run) == ["p0", "p1"]
        set_state(conn, ids, "failed", "segmenter")
        assert _lease(conn, run) == []
        end_run(conn, run)
    assert _lease(conn, start_run(conn)) == []
    assert states_module.count_waiting(conn, COUNTY) == 0
    assert states_module.reset(conn, COUNTY, scope="without_result") == 2
    assert [item.attempts for item in _sweep(start_run(conn)).lease(conn, 9)] == [1, 1]


@pytest.mark.parametrize("rule", retry_policy.RULES)
def test_each_reason_is_retried_when_its_rule_says(
    conn: Connection, rule: retry_policy.RetryRule
) -> None:
    ids = load_properties(conn, 1)
    run = start_run(conn)
    conn.execute(text('UPDATE lotline.run SET settings = \'{"registry_sha256": "1"}\''))
    for reason in rule.reasons or ("any",):
        conn.execute(text("UPDATE lotline.property SET run_fk = :run"), {"run": run.id})
        set_state(conn, ids, rule.state, reason)
        end_run(conn, run)
        for entry, is_other in (("1", False), ("2", True)):
            helps = is_other and rule.when == "registry changed"
            waiting = states_module.count_waiting(conn, COUNTY, registry_sha256=entry)
            assert waiting == (helps or rule.when == "next run")
            reset = states_module.reset(conn, COUNTY, scope="nothing", registry_sha256=entry)
            assert reset == helps
        assert states_module.count_waiting(conn, COUNTY, scope="without_result") == 1


def test_list_selects_properties_to_lease_count_and_reset(conn: Connection) -> None:
    ids = load_properties(conn, 4)
    run = start_run(conn)
    some, none = _list(conn, ["p1", "p3"]), _list(conn, [])
    assert states_module.count_waiting(conn, COUNTY, some) == 2
    assert states_module.count_waiting(conn, COUNTY, none) == 0
    assert sorted(_lease(conn, run, selection=some)) == ["p1", "p3"]
    assert _lease(conn, run, selection=none) == []
    set_state(conn, ids, "failed", "not_found")
    end_run(conn, run)
    assert states_module.reset(conn, COUNTY, _list(conn, ["p0"])) == 1
    assert states_module.reset(conn, COUNTY, none) == 0
    assert states_module.reset(conn, COUNTY) == 3
    assert states_module.count_waiting(conn, COUNTY) == 4
    assert states_module.count_states(conn, COUNTY, some) == {("pending", ""): 2}


def test_bounding_box_selects_properties_by_location(conn: Connection) -> None:
    ids = load_properties(conn, 5)
    loading.load(conn, COUNTY, [Property("a", address="1 Elm St"), Property("b", parcel_id="1")])
    box = Selection(bbox=(LON + 1 * STEP, LAT, LON + 3 * STEP, LAT))
    assert states_module.count_waiting(conn, COUNTY, box) == 3
    assert states_module.count_without_location(conn, COUNTY, box) == 2
    assert _lease(conn, start_run(conn), selection=box) == ["p1", "p2", "p3"]
    conn.execute(
        text("UPDATE lotline.property SET located_point = (SELECT point FROM lotline.property "
             "WHERE id = :id) WHERE property_id = 'a'"),
        {"id": ids[2]},
    )  # fmt: skip
    assert _lease(conn, start_run(conn), selection=box) == ["a"]
    assert states_module.count_without_location(conn, COUNTY, box) == 1


def test_bounding_box_and_list_select_their_intersection(conn: Connection) -> None:
    load_properties(conn, 5)
    listed = _list(conn, ["p0", "p2", "p4"])
    both = Selection(listed.list_id, (LON + STEP, LAT, LON + 3 * STEP, LAT))
    assert _lease(conn, start_run(conn), selection=both) == ["p2"]


def test_leased_properties_are_not_reset(conn: Connection) -> None:
    load_properties(conn, 2)
    _lease(conn, start_run(conn), limit=1)
    assert states_module.reset(conn, COUNTY) == 0
    _expire(conn)
    assert states_module.reset(conn, COUNTY) == 0
    assert states_module.count_waiting(conn, COUNTY) == 2, "it is waiting already"


def test_properties_completed_by_a_running_run_are_not_reset(conn: Connection) -> None:
    """Two concurrent batches that reprocess everything share the work."""
    ids = load_properties(conn, 4)
    old, first = start_run(conn), start_run(conn)
    _lease(conn, old)
    set_state(conn, ids, "done", "measured")
    end_run(conn, old)
    assert states_module.reset(conn, COUNTY) == 4
    _lease(conn, first, limit=2)
    set_state(conn, ids[:1], "done", "measured")
    set_state(conn, ids[1:2], "failed", "not_found")
    assert states_module.count_waiting(conn, COUNTY, scope="everything") == 2
    assert states_module.reset(conn, COUNTY) == 0
    assert states_module.reset(conn, COUNTY, scope="without_result") == 0
    end_run(conn, first)
    assert states_module.count_waiting(conn, COUNTY, scope="without_result") == 3
    assert states_module.reset(conn, COUNTY, scope="without_result") == 1
    assert states_module.reset(conn, COUNTY) == 1


def test_properties_completed_after_the_request_are_not_reset(conn: Connection) -> None:
    """Two batches are requested at once; the first finishes before the second starts."""
    ids = load_properties(conn, 2)
    run = start_run(conn)
    _lease(conn, run)
    set_state(conn, ids, "done", "measured")
    [ordered_at, later] = conn.execute(text("SELECT now(), now() + interval '1 s'")).one()
    conn.execute(
        text("UPDATE lotline.run SET state = 'finished', finished_at = :at"), {"at": later}
    )
    assert states_module.reset(conn, COUNTY, requested_at=ordered_at) == 0
    assert states_module.reset(conn, COUNTY, requested_at=later) == 2


def test_a_clock_that_is_set_back_keeps_no_result_fresh(conn: Connection) -> None:
    """The run ended at three, by a clock that was then corrected to one."""
    ids = load_properties(conn, 2)
    run = start_run(conn)
    _lease(conn, run)
    set_state(conn, ids, "done", "measured")
    end = text(
        "UPDATE lotline.run SET state = 'finished', started_at = now() + interval '3 h', "
        "finished_at = now() + interval '2 h' RETURNING now()"
    )
    requested_at = conn.execute(end).scalar_one()
    assert lifecycle.get_run(conn, run.id).took_s == 0
    assert states_module.reset(conn, COUNTY, requested_at=requested_at) == 2


def test_concurrent_resets_do_not_block_and_keep_leases(
    database: Database,
) -> None:
    with database.engine.begin() as conn:
        ids = load_properties(conn, 6)
        old = start_run(conn)
        conn.execute(
            text("UPDATE lotline.property SET state = 'done', reason = 'measured', run_fk = :run"),
            {"run": old.id},
        )
        end_run(conn, old)
        run = start_run(conn)
    with database.engine.connect() as first, database.engine.connect() as second:
        second.execute(text("SET lock_timeout = '1ms'"))
        assert states_module.reset(first, COUNTY, limit=3) == 3
        assert len(_lease(first, run, limit=2)) == 2
        assert states_module.reset(second, COUNTY) == 3
        first.commit()
        second.commit()
    with database.engine.begin() as conn:
        states = [_states(conn)[f"p{i}"][0] for i in range(len(ids))]
    assert states == ["leased", "leased", "pending", "pending", "pending", "pending"]


def test_concurrent_batches_reprocess_each_lot_once(
    database: Database,
) -> None:
    with database.engine.begin() as conn:
        ids = load_properties(conn, 300)
        old = start_run(conn)
        conn.execute(text("UPDATE lotline.property SET run_fk = :run"), {"run": old.id})
        set_state(conn, ids, "done", "measured")
        end_run(conn, old)

    def do_again(owner: str) -> list[int]:
        done: list[int] = []
        with database.engine.begin() as conn:
            run = start_run(conn)
        with database.engine.begin() as conn:
            states_module.reset(conn, COUNTY)
        sweep = _sweep(run, owner)
        while True:
            with database.engine.begin() as conn:
                taken = [item.id for item in sweep.lease(conn, 7)]
            if not taken:
                return done
            with database.engine.begin() as conn:
                set_state(conn, taken, "done", "measured")
            done += taken

    with ThreadPoolExecutor(4) as pool:
        done = [fk for each in pool.map(do_again, "abcd") for fk in each]
    assert sorted(done) == ids


def test_reset_is_limited(conn: Connection) -> None:
    ids = load_properties(conn, 5)
    run = start_run(conn)
    set_state(conn, ids[:4], "done", "measured")
    end_run(conn, run)
    assert states_module.reset(conn, COUNTY, limit=2) == 2
    assert [state for state, _ in _states(conn).values()].count("pending") == 3
    assert _lease(conn, start_run(conn), limit=2) == ["p0", "p1"]


def test_counties_do_not_share_a_queue(conn: Connection) -> None:
    load_properties(conn, 2)
    load_properties(conn, 3, "another")
    assert states_module.count_waiting(conn, "another") == 3
    assert len(_lease(conn, start_run(conn))) == 2
    assert not states_module.is_empty(conn, COUNTY)
    assert states_module.is_empty(conn, "a third")


@pytest.mark.parametrize("values", ["'gone', '', NULL, NULL", "'leased', '', NULL, NULL"])
def test_database_refuses_invalid_states(conn: Connection, values: str) -> None:
    insert = (
        "INSERT INTO lotline.property (county, property_id, parcel_id, state, reason, "
        f"lease_owner, leased_until) VALUES ('c', 'p', '1', {values})"
    )
    with pytest.raises(DBAPIError, match=r"property_.*_check"):
        conn.execute(text(insert))
