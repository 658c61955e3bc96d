"""Another version of the boundary, or another place: what of the old one still counts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from lots import (
    CHIP,
    COUNTY,
    LAT,
    LAWN,
    LON,
    STEP,
    TREE,
    begin,
    detections,
    finding,
    found,
    lot,
    measured_m2,
    property_row,
    queue,
    shifted,
    square,
    states,
    write_lot,
)
from sqlalchemy import Connection, text

from parcels.boundary import Located, Property
from parcels.measure import area_m2
from pipeline.store.database import Database
from pipeline.store.queue import loading
from pipeline.store.reviews import verdicts


def _counted(conn: Connection, property_fk: int, label: str = "lawn") -> list[int]:
    """The detections that the current measurement of a label lists."""
    query = text(
        "SELECT d.detection_fk FROM lotline.measurement m "
        "JOIN lotline.measurement_detection d ON d.measurement_fk = m.id "
        "WHERE m.property_fk = :property AND m.current AND m.label = :label ORDER BY 1"
    )
    return list(conn.execute(query, {"property": property_fk, "label": label}).scalars())


def test_what_was_reviewed_in_a_buffer_counts_only_inside_the_lot(conn: Connection) -> None:
    [lot_id] = queue(conn)
    astride, beyond = square(2, 1, 4, 4), square(6, 6, 3, 3)
    buffer = lot(10, "buffer_30m")
    write_lot(conn, begin(conn), lot_id, buffer, found(finding(astride), finding(beyond)))
    first, second = (row.id for row in detections(conn, lot_id))
    for lawn in (first, second):
        verdicts.accept(conn, lawn, "ann")
    assert _counted(conn, lot_id) == [first, second]
    # The county has a lot by now, and its edge cuts through the first and leaves out the second.
    inside_m2 = pytest.approx(area_m2(square(2, 1, 2, 4)))
    write_lot(conn, begin(conn), lot_id, lot(4), found())
    assert states(conn, lot_id) == ["accepted", "accepted"], "what was reviewed is kept"
    assert measured_m2(conn, lot_id)["lawn"] == inside_m2
    assert _counted(conn, lot_id) == [first]
    # And a later review of either measures the same way.
    verdicts.accept(conn, second, "bob")
    assert measured_m2(conn, lot_id)["lawn"] == inside_m2
    assert _counted(conn, lot_id) == [first]
    verdicts.reject(conn, first, "bob")
    assert measured_m2(conn, lot_id)["lawn"] == 0
    assert _counted(conn, lot_id) == []


def test_what_only_touches_the_boundary_is_not_counted(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(square(4, 1, 3, 3))))
    verdicts.accept(conn, detections(conn, lot_id)[0].id, "ann")
    write_lot(conn, begin(conn), lot_id, lot(4), found())
    assert measured_m2(conn, lot_id)["lawn"] == 0
    assert _counted(conn, lot_id) == []


def test_another_boundary_ends_what_nobody_reviewed_of_every_label(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN), finding(TREE, "tree")))
    lawns = begin(conn, ["lawn"])
    written = write_lot(conn, lawns, lot_id, lot(9), found(finding(LAWN)))
    assert (written.new, written.superseded) == (1, 2)
    assert states(conn, lot_id) == ["superseded", "superseded", "proposed"]
    assert measured_m2(conn, lot_id) == {"lawn": area_m2(LAWN)}, "the trees are unknown now"


def _move(conn: Connection, **to: Any) -> None:
    place = {"longitude": LON, "latitude": LAT, **to}
    loading.load(conn, COUNTY, [Property("p0", **place)])


@pytest.mark.parametrize("to", [{"longitude": LON + 1}, {"parcel_id": "17"}])
def test_a_corrected_place_leaves_nothing_of_the_old_one(
    conn: Connection, to: dict[str, Any]
) -> None:
    first, second = queue(conn, 2)
    run = begin(conn)
    for lot_id in (first, second):
        write_lot(conn, run, lot_id, lot(), found(finding(LAWN), finding(TREE, "tree")))
    lawn, _ = detections(conn, first)
    verdicts.accept(conn, lawn.id, "ann")
    _move(conn, **to)
    prop = property_row(conn, first)
    assert (prop.state, prop.boundary_fk, prop.chip_sha256, prop.coverage_fraction) == (
        "pending", None, None, None,
    )  # fmt: skip
    assert states(conn, first) == ["accepted", "superseded"]
    assert measured_m2(conn, first) == {}
    assert states(conn, second) == ["proposed", "proposed"], "another property's are left alone"
    assert set(measured_m2(conn, second)) == {"lawn", "tree"}
    # A person still may say something of what was found there, though nothing is measured.
    verdicts.reject(conn, lawn.id, "bob")
    assert measured_m2(conn, first) == {}


def test_a_lawn_of_the_wrong_lot_is_not_added_to_the_right_one(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    verdicts.accept(conn, detections(conn, lot_id)[0].id, "ann")
    _move(conn, longitude=LON + 1)
    right = replace(lot(), geometry=shifted(lot().geometry, 100))
    lawn = shifted(TREE, 100)
    write_lot(conn, begin(conn), lot_id, right, found(finding(lawn)))
    assert states(conn, lot_id) == ["accepted", "proposed"]
    assert measured_m2(conn, lot_id)["lawn"] == area_m2(lawn)


def test_a_place_that_is_corrected_while_the_old_one_is_written_keeps_nothing_of_it(
    database: Database,
) -> None:
    with database.engine.begin() as conn:
        [lot_id] = queue(conn)
        run = begin(conn)
    corrected = [Property("p0", LON + 100 * STEP, LAT)]
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with database.engine.connect() as writer, ThreadPoolExecutor(1) as pool:
        write_lot(writer, run, lot_id, lot(), found(finding(LAWN)))

        def correct() -> None:
            with database.engine.begin() as conn:
                loading.load(conn, COUNTY, corrected)

        loaded = pool.submit(correct)
        while not loaded.done() and not writer.execute(waits).scalar_one():
            time.sleep(0.01)
        writer.commit()
        loaded.result()
    with database.engine.connect() as conn:
        assert states(conn, lot_id) == ["superseded"]
        assert measured_m2(conn, lot_id) == {}


def test_another_address_of_the_same_place_keeps_what_was_found(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    before = property_row(conn, lot_id)
    _move(conn, address="1 Elm St")
    prop = property_row(conn, lot_id)
    assert (prop.state, prop.boundary_fk, prop.chip_sha256, prop.coverage_fraction) == (
        "pending", before.boundary_fk, CHIP.sha256, 1.0,
    )  # fmt: skip
    assert states(conn, lot_id) == ["proposed"]
    assert measured_m2(conn, lot_id)["lawn"] == area_m2(LAWN)


def test_how_it_was_found_is_of_the_last_lookup(conn: Connection) -> None:
    [lot_id] = queue(conn)
    at = Located(LON, LAT, "census", 0.8, True, "1 ELM ST")
    write_lot(conn, begin(conn), lot_id, replace(lot(), method="house_number", located=at), found())
    prop = property_row(conn, lot_id)
    assert (prop.method, prop.located_by, prop.confidence) == ("house_number", "census", 0.8)
    assert prop.matched_address == "1 ELM ST"
    write_lot(conn, begin(conn), lot_id, replace(lot(), method="parcel_id"), found())
    prop = property_row(conn, lot_id)
    assert (prop.method, prop.located_by, prop.located_point) == ("parcel_id", None, None)
    count = text("SELECT count(*) FROM lotline.boundary")
    assert conn.execute(count).scalar_one() == 1, "one lot, found in two ways"


def test_another_address_of_what_was_found_by_it_is_another_place(conn: Connection) -> None:
    loading.load(conn, COUNTY, [Property("p0", address="1 Elm St")])
    [lot_id] = conn.execute(text("SELECT id FROM lotline.property")).scalars()
    at = Located(LON, LAT, "parcel_layer", 1.0, False, "1 ELM ST")
    boundary = replace(lot(), method="address", located=at)
    write_lot(conn, begin(conn), lot_id, boundary, found(finding(LAWN)))
    assert property_row(conn, lot_id).sort_key, "it has a place among its neighbours now"
    loading.load(conn, COUNTY, [Property("p0", address="3 Elm St")])
    prop = property_row(conn, lot_id)
    assert (prop.state, prop.boundary_fk, prop.method, prop.located_by, prop.sort_key) == (
        "pending", None, None, None, None,
    )  # fmt: skip
    assert measured_m2(conn, lot_id) == {}
