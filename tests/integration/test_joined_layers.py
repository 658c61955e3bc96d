"""Columns as responses spell them, and layers that repeat an object id, against a server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arcgissource import source_of
from servers.table import Table, lots_in_a_row, table_server

from parcels import (
    Boundary,
    County,
    Lot,
    NoBoundary,
    NoLot,
    ParcelBoundaryService,
    Property,
    Unavailable,
)
from parcels.cache import CachedSource, FolderCache, LayerKey
from parcels.cache.fetch_layer import fetch_layer
from parcels.catalogue.add_county import add_county
from parcels.catalogue.verify import verify_county
from parcels.errors import ColumnsMissing
from parcels.parcel_source import QueryResult

COLUMNS = {"OBJECTID": "esriFieldTypeOID", "PIN": "esriFieldTypeString"}
QUALIFIED = {
    "GIS.PARCELS.OBJECTID": "esriFieldTypeOID",
    "GIS.PARCELS.PIN": "esriFieldTypeString",
    "GIS.CAMA.SITUS_ADDR": "esriFieldTypeString",
}
IN_THE_SECOND_LOT = Property("a", -90 + 0.00045, 35.00015)


def county_of(url: str, **entry: Any) -> County:
    given = {"key": "test", "url": url, "layer": 0, "allow_private": True, **entry}
    return County.model_validate(given)


def service_of(url: str, **entry: Any) -> ParcelBoundaryService:
    return ParcelBoundaryService(county_of(url, **entry), source_of(url, **entry))


def ids_of(result: object) -> tuple[str, ...]:
    assert isinstance(result, Lot), result
    return result.boundary.parcel_ids


@pytest.mark.parametrize("fields", [{}, {"parcel_id": "PIN"}, {"parcel_id": "pin"}])
@pytest.mark.parametrize(
    "spelling",
    [str.lower, str.title, lambda name: f"GIS.PARCELS.{name}"],
    ids=["lower", "title", "qualified"],
)
def test_responses_may_spell_columns_otherwise_than_the_metadata(
    spelling: Callable[[str], str], fields: dict[str, str]
) -> None:
    rows = lots_in_a_row(5, PIN=["A1", "A2", "A3", "A4", "A5"])
    with table_server(Table(COLUMNS, rows, respond_as=spelling)) as server:
        service = service_of(server.url, fields=fields)
        by_point, by_id = service.look_up_many([IN_THE_SECOND_LOT, Property("b", parcel_id="A4")])
        assert ids_of(by_point) == ("A2",)
        assert ids_of(by_id) == ("A4",)
        harvested = [row for page in source_of(server.url).harvest() for row in page.rows]
        assert [row.parcel_id for row in harvested] == ["A1", "A2", "A3", "A4", "A5"]


def test_responses_may_spell_columns_by_their_alias() -> None:
    rows = lots_in_a_row(3, PIN=["A1", "A2", "A3"])
    details = {"PIN": {"alias": "Parcel Number"}}
    table = Table(
        COLUMNS,
        rows,
        field_details=details,
        respond_as=lambda name: {"PIN": "Parcel Number"}.get(name, name),
    )
    with table_server(table) as server:
        assert ids_of(service_of(server.url).look_up(IN_THE_SECOND_LOT)) == ("A2",)
        by_alias = service_of(server.url, fields={"parcel_id": "parcel number"})
        assert ids_of(by_alias.look_up(IN_THE_SECOND_LOT)) == ("A2",)


def test_an_entry_may_leave_out_the_table_of_a_column() -> None:
    rows = [
        {"GIS.PARCELS.OBJECTID": r["OBJECTID"], "GIS.PARCELS.PIN": r["PIN"], "shape": r["shape"],
         "GIS.CAMA.SITUS_ADDR": f"{100 + r['OBJECTID']} MAIN ST"}
        for r in lots_in_a_row(3, PIN=["A1", "A2", "A3"])
    ]  # fmt: skip
    table = Table(QUALIFIED, rows, object_id="GIS.PARCELS.OBJECTID")
    with table_server(table) as server:
        for fields in ({}, {"parcel_id": "PIN", "address": "situs_addr"}):
            service = service_of(server.url, fields=fields)
            assert ids_of(service.look_up(IN_THE_SECOND_LOT)) == ("A2",)
            assert ids_of(service.look_up(Property("b", parcel_id="A3"))) == ("A3",)


@pytest.mark.parametrize("fields", [{}, {"parcel_id": "PIN"}])
def test_a_column_in_no_row_of_a_response_is_an_error_and_no_missing_lot(
    fields: dict[str, str],
) -> None:
    rows = lots_in_a_row(3, PIN=["A1", "A2", "A3"])
    without_pin = Table(COLUMNS, rows, respond_as={"OBJECTID": "OBJECTID"}.get)
    with table_server(without_pin) as server:
        service = service_of(server.url, fields=fields)
        props = [IN_THE_SECOND_LOT, Property("b", parcel_id="A1")]
        for result in service.look_up_many(props):
            assert isinstance(result, Unavailable)
            assert "no row of the response has the column 'PIN'" in result.detail
        for boundary in service.boundaries(props):
            assert isinstance(boundary, NoBoundary)
            assert boundary.reason == "unavailable"
        # A whole batch is not split into single calls: each would fail in the same way.
        before = len(server.calls)
        service.look_up_many([Property(str(i), parcel_id=f"A{i}") for i in range(500)])
        assert len(server.calls) - before <= 3
        result = verify_county(county_of(server.url, fields=fields))
        assert not result.passed
        assert not result.inconclusive
        assert "PIN" in str(result.problem)
        with pytest.raises(ColumnsMissing):
            list(source_of(server.url, fields=fields).harvest())


def joined(accounts: list[tuple[int, str]], **table: Any) -> Table:
    """A layer with a row for each account; those with one object id share its lot."""
    lots = {row["OBJECTID"]: row for row in lots_in_a_row(max(oid for oid, _ in accounts))}
    rows = [{**lots[oid], "PIN": pin} for oid, pin in accounts]
    return Table(COLUMNS, rows, **table)


ACCOUNTS = [(1, "A1"), (2, "A2"), (2, "A2-1"), (2, "A2-2"), (3, "A3"), (4, "A4"), (4, "A4-1")]


@pytest.mark.parametrize("says_truncated", [True, False])
@pytest.mark.parametrize("max_rows", [1_000, 7, 5, 4, 3, 2, 1])
def test_every_account_of_a_joined_layer_is_found(
    max_rows: int, says_truncated: bool, tmp_path: Path
) -> None:
    table = joined(ACCOUNTS, max_rows=max_rows, says_truncated=says_truncated)
    with table_server(table) as server:
        service = service_of(server.url)
        props = [Property(pin, parcel_id=pin) for _, pin in ACCOUNTS]
        for prop, result in zip(props, service.look_up_many(props), strict=True):
            assert prop.property_id in ids_of(result)
            assert ids_of(service.look_up(prop)) == ids_of(result)
        assert ids_of(service.look_up(IN_THE_SECOND_LOT)) == ("A2", "A2-1", "A2-2")
        source = source_of(server.url)
        harvested = [row for page in source.harvest() for row in page.rows]
        assert [(row.object_id, row.parcel_id) for row in harvested] == ACCOUNTS
        county = county_of(server.url)
        layer = FolderCache(tmp_path).layer(LayerKey.of(county))
        assert fetch_layer(source, layer).rows == len(ACCOUNTS)
        cached = CachedSource(source, FolderCache(tmp_path), LayerKey.of(county))
        from_cache = ParcelBoundaryService(county, cached)
        for prop in props:
            assert ids_of(from_cache.look_up(prop)) == ids_of(service.look_up(prop))


def test_a_row_that_is_sent_twice_counts_once() -> None:
    table = joined([(1, "A1"), (2, "A2"), (2, "A2")])
    with table_server(table) as server:
        [found] = source_of(server.url).with_ids(["A2"])
        assert isinstance(found, QueryResult)
        assert len(found.rows) == 1


def test_registry_add_finds_qualified_ids_and_the_type_column(tmp_path: Path) -> None:
    columns = {**QUALIFIED, "GIS.PARCELS.POLY_TYPE": "esriFieldTypeString"}
    rows = [
        {"GIS.PARCELS.OBJECTID": r["OBJECTID"], "GIS.PARCELS.PIN": f"F_{r['OBJECTID']}",
         "GIS.CAMA.SITUS_ADDR": "", "GIS.PARCELS.POLY_TYPE": kind, "shape": r["shape"]}
        for r, kind in zip(lots_in_a_row(4), ["FEE", "ROW", "FEE", "WATER"], strict=True)
    ]  # fmt: skip
    table = Table(columns, rows, object_id="GIS.PARCELS.OBJECTID", respond_as=str.lower)
    with table_server(table) as server:
        added = add_county("test", f"{server.url}/0", tmp_path / "r.yaml", allow_private=True)
    assert added.county.fields.parcel_id == "GIS.PARCELS.PIN"
    assert added.county.fields.parcel_type == "GIS.PARCELS.POLY_TYPE"


class HasSubtypes(Table):
    def metadata(self) -> dict[str, Any]:
        types = [{"id": 1, "name": "Lot"}, {"id": 7, "name": "Right of Way"}]
        return {**super().metadata(), "typeIdField": "parceltype", "types": types}


@pytest.mark.parametrize("kind", [Table, HasSubtypes])
def test_a_coded_type_is_read_by_its_meaning(kind: type[Table]) -> None:
    columns = {**COLUMNS, "PARCELTYPE": "esriFieldTypeInteger"}
    codes = [{"code": 1, "name": "Lot"}, {"code": 7.0, "name": "Right of Way"}]
    details = {"PARCELTYPE": {"domain": {"type": "codedValue", "codedValues": codes}}}
    rows = lots_in_a_row(3, PIN=["A1", "A2", "A3"], PARCELTYPE=[1, 7, 1])
    table = kind(columns, rows, field_details=details if kind is Table else {})
    with table_server(table) as server:
        service = service_of(server.url)
        circle, lot = service.boundaries([IN_THE_SECOND_LOT, Property("b", parcel_id="A1")])
        assert isinstance(circle, Boundary)
        assert (circle.source, circle.parcel_ids) == ("buffer_30m", ())
        assert circle.note == "the parcel there was not taken, as its type is 'Right of Way'"
        assert isinstance(lot, Boundary)
        assert lot.source == "lot"
        [of_the_way] = service.boundaries([Property("c", parcel_id="A2")])
        assert isinstance(of_the_way, NoBoundary)
        assert "its type is 'Right of Way'" in of_the_way.detail


def test_a_guessed_id_column_that_is_empty_everywhere_makes_no_lot_a_right_of_way() -> None:
    with table_server(Table(COLUMNS, lots_in_a_row(3, PIN=[None, "", None]))) as server:
        result = service_of(server.url).look_up(IN_THE_SECOND_LOT)
        assert isinstance(result, Lot)
    with table_server(Table(COLUMNS, lots_in_a_row(3, PIN=["A1", "", None]))) as server:
        [circle] = service_of(server.url).boundaries([IN_THE_SECOND_LOT])
        assert isinstance(circle, Boundary)
        assert circle.note == "the parcel there was not taken, as it has no parcel id"


def test_a_server_whose_lots_are_elsewhere_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = lots_in_a_row(60, PIN=[f"A{i}" for i in range(60)])
    with table_server(Table(COLUMNS, rows)) as server:
        service = service_of(server.url, state="CA")
        props = [Property(str(i), parcel_id=f"A{i}") for i in range(60)]
        with caplog.at_level(logging.WARNING):
            service.look_up_many(props[:40])
            service.look_up_many(props[40:])
        [warning] = [record.message for record in caplog.records if "its lots" in record.message]
        assert "outside the state CA" in warning
        assert service.warnings == (warning,)
        assert service_of(server.url, state="TN").warnings == ()


@pytest.mark.parametrize("useless", [None, "", " ", "0", "N/A", "0042"])
def test_a_guessed_id_column_has_ids(useless: str | None) -> None:
    columns = {**COLUMNS, "PARCEL_ID": "esriFieldTypeString"}
    ids = [f"A{i}" for i in range(1, 9)]
    values = ["x", *[useless] * 7]
    rows = lots_in_a_row(8, PARCEL_ID=values, PIN=ids)
    with table_server(Table(dict(sorted(columns.items())), rows)) as server:
        by_point, by_id = service_of(server.url).look_up_many(
            [IN_THE_SECOND_LOT, Property("b", parcel_id="A4")]
        )
        assert ids_of(by_point) == ("A2",)
        assert ids_of(by_id) == ("A4",)


@pytest.mark.parametrize("useless", [None, "", "0", "UNKNOWN"])
def test_a_mapped_id_column_without_ids_is_an_error(useless: str | None) -> None:
    with table_server(Table(COLUMNS, lots_in_a_row(6, PIN=[useless] * 6))) as server:
        service = service_of(server.url, fields={"parcel_id": "PIN"})
        result = service.look_up(IN_THE_SECOND_LOT)
        assert isinstance(result, Unavailable)
        assert (result.reason, "'PIN' has no parcel id" in result.detail) == ("misconfigured", True)
        assert not verify_county(county_of(server.url, fields={"parcel_id": "PIN"})).passed


class LeavesOutNulls(Table):
    """A server whose rows have no key for a null."""

    def query(self, params: dict[str, str]) -> dict[str, Any]:
        response = super().query(params)
        for feature in response.get("features", []):
            values = feature["attributes"]
            feature["attributes"] = {k: v for k, v in values.items() if v is not None}
        return response


def test_a_server_may_leave_out_nulls() -> None:
    columns = {**COLUMNS, "ADDR": "esriFieldTypeString", "UNIT": "esriFieldTypeString"}
    rows = lots_in_a_row(3, PIN=["A1", "A2", None], ADDR=["1 MAIN ST", None, None], UNIT=[None] * 3)
    fields = {"parcel_id": "PIN", "address": "ADDR", "unit": "UNIT"}
    with table_server(LeavesOutNulls(columns, rows)) as server:
        service = service_of(server.url, fields=fields)
        assert ids_of(service.look_up(IN_THE_SECOND_LOT)) == ("A2",)
        [way] = service.boundaries([Property("c", -90 + 0.00075, 35.00015)])
        assert isinstance(way, Boundary)
        assert way.note == "the parcel there was not taken, as it has no parcel id"


class Oracle(Table):
    """A database where nothing differs from an empty text."""

    def _where(self, where: str) -> list[dict[str, Any]]:
        return [] if "<> ''" in where else super()._where(where)


def test_rows_without_an_id_are_judged_alike_on_oracle() -> None:
    with table_server(Oracle(COLUMNS, lots_in_a_row(3, PIN=["A1", None, "A3"]))) as server:
        for fields in ({}, {"parcel_id": "PIN"}):
            [way] = service_of(server.url, fields=fields).boundaries([IN_THE_SECOND_LOT])
            assert isinstance(way, Boundary)
            assert way.note == "the parcel there was not taken, as it has no parcel id"


# In no order of object ids, and with rows that are equal in every requested column.
UNORDERED = [(1, "A1"), (2, "A2"), (3, "A3"), (1, "A1-2"), (4, "A4"), (2, "A2"), (2, "A2-2")]


class RefusesCounts(Table):
    def query(self, params: dict[str, str]) -> dict[str, Any]:
        if params.get("returnCountOnly") == "true":
            return {"error": {"code": 400, "message": "not supported"}}
        return super().query(params)


class SendsLess(Table):
    """A server that sends fewer rows than its maxRecordCount says."""

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "maxRecordCount": 4}


# Without its flag, nothing would show that the answers of the last one are cut.
@pytest.mark.parametrize(
    ("kind", "says_truncated"),
    [
        (Table, True),
        (Table, False),
        (RefusesCounts, True),
        (RefusesCounts, False),
        (SendsLess, True),
    ],
)
@pytest.mark.parametrize("max_rows", [1_000, 4, 3, 2])
def test_no_row_is_lost_where_answers_are_cut(
    kind: type[Table], max_rows: int, says_truncated: bool
) -> None:
    lots = {row["OBJECTID"]: row for row in lots_in_a_row(4)}
    rows = [{**lots[oid], "PIN": pin} for oid, pin in UNORDERED]
    with table_server(
        kind(COLUMNS, rows, max_rows=max_rows, says_truncated=says_truncated)
    ) as server:
        service = service_of(server.url)
        points = [Property(str(i), -90 + (i + 0.5) * 0.0003, 35.00015) for i in range(4)]
        expected = [("A1", "A1-2"), ("A2", "A2-2"), ("A3",), ("A4",)]
        assert [ids_of(result) for result in service.look_up_many(points)] == expected
        for _, pin in UNORDERED:
            assert pin in ids_of(service.look_up(Property("b", parcel_id=pin)))
        harvested = [row.parcel_id for page in source_of(server.url).harvest() for row in page.rows]
        assert sorted(map(str, harvested)) == sorted({pin for _, pin in UNORDERED})


def test_a_cut_answer_that_cannot_be_continued_is_an_error() -> None:
    class IgnoresOffset(Table):
        def query(self, params: dict[str, str]) -> dict[str, Any]:
            return super().query({k: v for k, v in params.items() if k != "resultOffset"})

    [lot] = lots_in_a_row(1)
    rows = [{**lot, "PIN": f"A{i}"} for i in range(24)]
    with table_server(IgnoresOffset(COLUMNS, rows, max_rows=7, says_truncated=False)) as server:
        result = service_of(server.url).look_up(Property("b", -90 + 0.00015, 35.00015))
        assert isinstance(result, Unavailable)
        assert "sends no further page" in result.detail


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        ("esriFieldTypeDouble", 1e17, 100000000000000021),
        ("esriFieldTypeDouble", 10**17, 100000000000000021),
        ("esriFieldTypeSingle", 123456792.0, 123456795),
    ],
)
def test_neighbours_whose_ids_were_rounded_never_merge(kind: str, first: float, last: int) -> None:
    ids = [first, first, last]
    table = Table({"OBJECTID": "esriFieldTypeOID", "PIN": kind}, lots_in_a_row(3, PIN=ids))
    by_id = Property("b", parcel_id=str(int(first)))
    with table_server(table) as server:
        for fields in ({}, {"parcel_id": "PIN"}):
            for found in service_of(server.url, fields=fields).look_up_many(
                [IN_THE_SECOND_LOT, by_id]
            ):
                assert isinstance(found, Unavailable)
                assert found.reason == "misconfigured"
                assert "too many digits for its type" in found.detail
        lot = service_of(server.url, fields={"parcel_id": "OBJECTID"}).look_up(IN_THE_SECOND_LOT)
        assert ids_of(lot) == ("2",)


def test_one_rounded_id_does_not_concern_the_others(caplog: pytest.LogCaptureFixture) -> None:
    table = Table(
        {"OBJECTID": "esriFieldTypeOID", "PIN": "esriFieldTypeDouble"},
        lots_in_a_row(3, PIN=[1.0, 1e17, 3.0]),
    )
    with table_server(table) as server, caplog.at_level(logging.WARNING):
        three, rounded = service_of(server.url).look_up_many(
            [Property("a", parcel_id="3"), Property("b", parcel_id="100000000000000000")]
        )
        assert ids_of(three) == ("3",)
        assert isinstance(rounded, Unavailable)
        harvested = [row for page in source_of(server.url).harvest() for row in page.rows]
        assert [row.parcel_id for row in harvested] == ["1", None, "3"]
    assert "'PIN' has ids with too many digits" in caplog.text


def test_an_id_with_too_many_digits_is_not_found_among_exact_ones() -> None:
    table = Table(
        {"OBJECTID": "esriFieldTypeOID", "PIN": "esriFieldTypeDouble"},
        lots_in_a_row(3, PIN=[1.0, 2.0, 3.0]),
    )
    with table_server(table) as server:
        two, none = service_of(server.url).look_up_many(
            [Property("a", parcel_id="2"), Property("b", parcel_id="100000000000000021")]
        )
        assert ids_of(two) == ("2",)
        assert isinstance(none, NoLot)
