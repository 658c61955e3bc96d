"""Loading a county's queue: new, changed and unchanged properties, and lists."""

from __future__ import annotations

from collections.abc import Iterator

from lots import COUNTY, LAT, LON, STEP, load_properties, set_state
from sqlalchemy import Connection, text

from parcels.boundary import Property
from pipeline.properties_csv import BadRow, BadRows
from pipeline.store.queue import all_lots, loading
from pipeline.store.queue import states as states_module
from pipeline.store.queue.loading import LoadResult
from pipeline.store.queue.selection import Selection


def _states(conn: Connection) -> dict[str, tuple[str, str]]:
    rows = conn.execute(text("SELECT property_id, state, reason FROM lotline.property"))
    return {row.property_id: (row.state, row.reason) for row in rows}


def _rows(*names: str) -> Iterator[tuple[int, Property]]:
    return enumerate((Property(name, LON, LAT) for name in names), 2)


def _lists(conn: Connection) -> list[str]:
    return list(conn.execute(text("SELECT sha256 FROM lotline.property_list ORDER BY 1")).scalars())


def test_load_counts_new_changed_and_unchanged_properties(conn: Connection) -> None:
    first = [Property("a", LON, LAT), Property("b", parcel_id="17"), Property("c", LON, LAT)]
    assert loading.load(conn, COUNTY, first) == LoadResult(3, 0, 0)
    assert loading.load(conn, COUNTY, first) == LoadResult(0, 0, 3)
    moved = [Property("a", LON + STEP, LAT), Property("b", parcel_id="17", address="1 Elm St")]
    assert loading.load(conn, COUNTY, [*moved, Property("d", LON, LAT)]) == LoadResult(1, 2, 0)
    assert loading.load(conn, "another", first) == LoadResult(3, 0, 0)


def test_changed_properties_are_pending_again(conn: Connection) -> None:
    ids = load_properties(conn, 2)
    set_state(conn, ids, "failed", "outside_county")
    loading.load(conn, COUNTY, [Property("p0", LON, LAT), Property("p1", LON, LAT + STEP)])
    assert _states(conn) == {"p0": ("failed", "outside_county"), "p1": ("pending", "")}


def test_duplicate_ids_are_bad_rows_and_the_first_is_used(conn: Connection) -> None:
    twice = [Property("a", LON, LAT), Property("b", LON, LAT), Property("a", LON, LAT + 1)]
    listed = loading.load_list(
        conn, COUNTY, "1", [(2, twice[0]), BadRow(3, "no place"), (4, twice[1]), (5, twice[2])]
    )
    bad_rows = BadRows(2, [BadRow(3, "no place"), BadRow(5, "property_id a is already on line 2")])
    assert listed.bad_rows == bad_rows
    assert loading.current_list(conn, COUNTY, "1") == listed
    assert loading.load(conn, COUNTY, twice[:2]) == LoadResult(0, 0, 2)


def test_bad_rows_are_counted_and_the_first_are_stored_as_examples(conn: Connection) -> None:
    repeated = [(line, Property("a", LON, LAT)) for line in range(2, 400, 2)]
    bad = [BadRow(line, "no place") for line in range(3, 401, 2)]
    listed = loading.load_list(conn, COUNTY, "1", [*repeated, *bad])
    assert listed.bad_rows.count == len(repeated) - 1 + len(bad)
    assert [row.line for row in listed.bad_rows.examples] == list(range(3, 103))


def test_loaded_list_is_current_until_a_property_changes(
    conn: Connection,
) -> None:
    first = loading.load_list(conn, COUNTY, "1", _rows("a", "b"))
    assert loading.current_list(conn, COUNTY, "1") == first
    assert loading.current_list(conn, COUNTY, "2") is None
    assert loading.current_list(conn, "another", "1") is None
    second = loading.load_list(conn, COUNTY, "2", _rows("b", "c"))
    assert loading.current_list(conn, COUNTY, "1") == first, "b is unchanged, c is new"
    moved = loading.load_list(conn, COUNTY, "3", [(2, Property("c", LON, LAT + 1))])
    assert loading.current_list(conn, COUNTY, "1") is None
    assert loading.current_list(conn, COUNTY, "2") is None
    assert loading.current_list(conn, COUNTY, "3") == moved
    assert loading.load_list(conn, COUNTY, "2", _rows("b", "c")) == second
    assert loading.current_list(conn, COUNTY, "3") is None, "list 2 was loaded last"


def test_two_lists_may_share_properties(conn: Connection) -> None:
    first = loading.load_list(conn, COUNTY, "1", _rows("a", "b"))
    second = loading.load_list(conn, COUNTY, "2", _rows("b", "c"))
    for listed in (first, second):
        assert states_module.count_states(conn, COUNTY, Selection(listed.id)) == {
            ("pending", ""): 2
        }
    assert states_module.count_states(conn, COUNTY) == {("pending", ""): 3}


def test_old_lists_are_deleted_except_the_newest_and_those_in_use(conn: Connection) -> None:
    for number in range(loading.KEEP_LISTS + 2):
        loading.load_list(conn, COUNTY, f"{number}", _rows("a"))
    assert len(_lists(conn)) == loading.KEEP_LISTS + 2, "a batch may be using each of them"
    conn.execute(text("UPDATE lotline.property_list SET used_at = used_at - interval '8 days'"))
    assert loading.current_list(conn, COUNTY, "0") is not None
    loading.load_list(conn, COUNTY, "new", _rows("a"))
    assert len(_lists(conn)) == loading.KEEP_LISTS
    assert {"0", "new"} < set(_lists(conn))
    held = text("SELECT count(DISTINCT list_fk) FROM lotline.listed")
    assert conn.execute(held).scalar_one() == loading.KEEP_LISTS


def _piece(
    name: str, parcel_id: str | None, size: float = 1.0, shape: str = ""
) -> all_lots.LotPart:
    return all_lots.LotPart(name, parcel_id, LON + size, LAT, size, (shape or name).encode())


def test_each_lot_of_a_layer_is_loaded_once_and_existing_properties_stay(
    conn: Connection,
) -> None:
    load_properties(conn, 1)
    loading.load(conn, COUNTY, [Property("lead", LON, LAT, "17")])
    rows = [
        _piece("p0", "p0"),
        _piece("17", "17"),
        _piece("18", "18", 1, "small piece"),
        _piece("18", "18", 2, "large piece"),
        _piece("20b", "20b", 1, "flats"),
        _piece("20a", "20a", 1, "flats"),
        _piece("lot@1", None, 1, "flats"),
        _piece("lot@2", None),
    ]
    assert all_lots.stage(conn, COUNTY, rows) == all_lots.LotCounts(count=5, new=3)
    assert all_lots.add(conn, COUNTY) == 3
    assert set(_states(conn)) == {"p0", "lead", "18", "20a", "lot@2"}
    place = text("SELECT ST_X(point) FROM lotline.property WHERE property_id = '18'")
    assert conn.execute(place).scalar_one() == LON + 2, "the largest part gives the point"
    assert loading.load(conn, COUNTY, [Property("p0", LON, LAT)]) == LoadResult(0, 0, 1)
    assert all_lots.stage(conn, COUNTY, rows) == all_lots.LotCounts(count=5, new=0)
    assert all_lots.add(conn, COUNTY) == 0
