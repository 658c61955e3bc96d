"""A new boundary version, or a corrected location: which old detections still count."""

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
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_areas_m2,
    read_detections,
    read_property,
    read_states,
    shifted,
    square,
    start_run,
    write_lot,
)
from sqlalchemy import Connection, text

from parcels.boundary import Located, Property
from parcels.measure import area_m2
from pipeline.store.database import Database
from pipeline.store.queue import loading
from pipeline.store.reviews import verdicts


def _counted(conn: Connection, property_fk: int, label: str = "lawn") -> list[int]:
    """The detections that the current measurement of a label counts."""
    query = text(
        "SELECT d.detection_fk FROM lotline.measurement m "
        "JOIN lotline.measurement_detection d ON d.measurement_fk = m.id "
        "WHERE m.property_fk = :property AND m.current AND m.label = :label ORDER BY 1"
    )
    return list(conn.execute(query, {"property": property_fk, "label": label}).scalars())


def test_reviewed_detection_of_a_buffer_counts_only_inside_the_new_lot(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    astride, beyond = square(2, 1, 4, 4), square(6, 6, 3, 3)
    buffer = make_boundary(10, "buffer_30m")
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        buffer,
        make_result(make_detection(astride), make_detection(beyond)),
    )
    first, second = (row.id for row in read_detections(conn, lot_id))
    for lawn in (first, second):
        verdicts.accept(conn, lawn, "ann")
    assert _counted(conn, lot_id) == [first, second]
    # The county has a lot now: its edge cuts the first detection and excludes the second.
    inside_m2 = pytest.approx(area_m2(square(2, 1, 2, 4)))
    write_lot(conn, start_run(conn), lot_id, make_boundary(4), make_result())
    assert read_states(conn, lot_id) == ["accepted", "accepted"], "reviewed detections stay"
    assert read_areas_m2(conn, lot_id)["lawn"] == inside_m2
    assert _counted(conn, lot_id) == [first]
    # A later review of either measures in the same way.
    verdicts.accept(conn, second, "bob")
    assert read_areas_m2(conn, lot_id)["lawn"] == inside_m2
    assert _counted(conn, lot_id) == [first]
    verdicts.reject(conn, first, "bob")
    assert read_areas_m2(conn, lot_id)["lawn"] == 0
    assert _counted(conn, lot_id) == []


def test_detection_that_only_touches_the_boundary_is_not_counted(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(square(4, 1, 3, 3))),
    )
    verdicts.accept(conn, read_detections(conn, lot_id)[0].id, "ann")
    write_lot(conn, start_run(conn), lot_id, make_boundary(4), make_result())
    assert read_areas_m2(conn, lot_id)["lawn"] == 0
    assert _counted(conn, lot_id) == []


def test_new_boundary_supersedes_unreviewed_detections_of_every_label(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(TREE, "tree")),
    )
    lawns = start_run(conn, ["lawn"])
    written = write_lot(conn, lawns, lot_id, make_boundary(9), make_result(make_detection(LAWN)))
    assert (written.new, written.superseded) == (1, 2)
    assert read_states(conn, lot_id) == ["superseded", "superseded", "proposed"]
    assert read_areas_m2(conn, lot_id) == {"lawn": area_m2(LAWN)}, "the trees are unknown now"


def _move(conn: Connection, **to: Any) -> None:
    place = {"longitude": LON, "latitude": LAT, **to}
    loading.load(conn, COUNTY, [Property("p0", **place)])


@pytest.mark.parametrize("to", [{"longitude": LON + 1}, {"parcel_id": "17"}])
def test_corrected_location_removes_results_of_the_old_one(
    conn: Connection, to: dict[str, Any]
) -> None:
    first, second = load_properties(conn, 2)
    run = start_run(conn)
    for lot_id in (first, second):
        write_lot(
            conn,
            run,
            lot_id,
            make_boundary(),
            make_result(make_detection(LAWN), make_detection(TREE, "tree")),
        )
    lawn, _ = read_detections(conn, first)
    verdicts.accept(conn, lawn.id, "ann")
    _move(conn, **to)
    prop = read_property(conn, first)
    assert (prop.state, prop.boundary_fk, prop.chip_sha256, prop.coverage_fraction) == (
        "pending", None, None, None,
    )  # fmt: skip
    assert read_states(conn, first) == ["accepted", "superseded"]
    assert read_areas_m2(conn, first) == {}
    assert read_states(conn, second) == ["proposed", "proposed"], "another property is unchanged"
    assert set(read_areas_m2(conn, second)) == {"lawn", "tree"}
    # Reviews of the old detections are still possible, but nothing is measured.
    verdicts.reject(conn, lawn.id, "bob")
    assert read_areas_m2(conn, first) == {}


def test_area_of_the_old_location_is_not_added_to_the_new_one(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    verdicts.accept(conn, read_detections(conn, lot_id)[0].id, "ann")
    _move(conn, longitude=LON + 1)
    right = replace(make_boundary(), geometry=shifted(make_boundary().geometry, 100))
    lawn = shifted(TREE, 100)
    write_lot(conn, start_run(conn), lot_id, right, make_result(make_detection(lawn)))
    assert read_states(conn, lot_id) == ["accepted", "proposed"]
    assert read_areas_m2(conn, lot_id)["lawn"] == area_m2(lawn)


def test_location_corrected_during_a_write_removes_the_written_results(
    database: Database,
) -> None:
    with database.engine.begin() as conn:
        [lot_id] = load_properties(conn)
        run = start_run(conn)
    corrected = [Property("p0", LON + 100 * STEP, LAT)]
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with database.engine.connect() as writer, ThreadPoolExecutor(1) as pool:
        write_lot(writer, run, lot_id, make_boundary(), make_result(make_detection(LAWN)))

        def correct() -> None:
            with database.engine.begin() as conn:
                loading.load(conn, COUNTY, corrected)

        loaded = pool.submit(correct)
        while not loaded.done() and not writer.execute(waits).scalar_one():
            time.sleep(0.01)
        writer.commit()
        loaded.result()
    with database.engine.connect() as conn:
        assert read_states(conn, lot_id) == ["superseded"]
        assert read_areas_m2(conn, lot_id) == {}


def test_new_address_at_the_same_point_keeps_results(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    before = read_property(conn, lot_id)
    _move(conn, address="1 Elm St")
    prop = read_property(conn, lot_id)
    assert (prop.state, prop.boundary_fk, prop.chip_sha256, prop.coverage_fraction) == (
        "pending", before.boundary_fk, CHIP.sha256, 1.0,
    )  # fmt: skip
    assert read_states(conn, lot_id) == ["proposed"]
    assert read_areas_m2(conn, lot_id)["lawn"] == area_m2(LAWN)


def test_lookup_method_is_that_of_the_last_lookup(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    at = Located(LON, LAT, "census", 0.8, True, "1 ELM ST")
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        replace(make_boundary(), method="house_number", located=at),
        make_result(),
    )
    prop = read_property(conn, lot_id)
    assert (prop.method, prop.located_by, prop.confidence) == ("house_number", "census", 0.8)
    assert prop.matched_address == "1 ELM ST"
    write_lot(
        conn, start_run(conn), lot_id, replace(make_boundary(), method="parcel_id"), make_result()
    )
    prop = read_property(conn, lot_id)
    assert (prop.method, prop.located_by, prop.located_point) == ("parcel_id", None, None)
    count = text("SELECT count(*) FROM lotline.boundary")
    assert conn.execute(count).scalar_one() == 1, "one lot, looked up in two ways"


def test_new_address_of_a_property_located_by_address_removes_results(conn: Connection) -> None:
    loading.load(conn, COUNTY, [Property("p0", address="1 Elm St")])
    [lot_id] = conn.execute(text("SELECT id FROM lotline.property")).scalars()
    at = Located(LON, LAT, "parcel_layer", 1.0, False, "1 ELM ST")
    boundary = replace(make_boundary(), method="address", located=at)
    write_lot(conn, start_run(conn), lot_id, boundary, make_result(make_detection(LAWN)))
    assert read_property(conn, lot_id).sort_key, "it is located now"
    loading.load(conn, COUNTY, [Property("p0", address="3 Elm St")])
    prop = read_property(conn, lot_id)
    assert (prop.state, prop.boundary_fk, prop.method, prop.located_by, prop.sort_key) == (
        "pending", None, None, None, None,
    )  # fmt: skip
    assert read_areas_m2(conn, lot_id) == {}
