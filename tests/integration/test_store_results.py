"""Writing lots: all or nothing, the same twice, and beside what people said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lots import (
    CHIP,
    LAWN,
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
from shapely import MultiPolygon
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from detection.results import LotResult
from parcels.measure import area_m2
from pipeline.errors import StoreError
from pipeline.store.database import Database
from pipeline.store.results import merge
from pipeline.store.results.merge import write_chunk
from pipeline.store.results.outcomes import Processed, WriteResult
from pipeline.store.reviews import verdicts


def _everything(conn: Connection) -> dict[str, list[Any]]:
    """Every row of every table, apart from when properties were touched."""
    tables = ("boundary", "chip", "detection", "review", "measurement", "measurement_detection")
    rows = {name: conn.execute(text(f"TABLE lotline.{name}")).all() for name in tables}
    rows["property"] = conn.execute(
        text("SELECT id, state, reason, boundary_fk, coverage_fraction FROM lotline.property")
    ).all()
    return {name: sorted(map(str, found_rows)) for name, found_rows in rows.items()}


def test_a_lot_is_written_whole(conn: Connection) -> None:
    [lot_id] = queue(conn)
    run = begin(conn)
    result = found(finding(LAWN), finding(TREE, "tree"), coverage_fraction=0.9)
    assert write_lot(conn, run, lot_id, lot(), result) == WriteResult("done", "measured", new=2)
    prop = property_row(conn, lot_id)
    assert (prop.state, prop.reason, prop.coverage_fraction) == ("done", "measured", 0.9)
    assert (prop.run_fk, prop.chip_sha256, prop.lease_owner) == (run.id, CHIP.sha256, None)
    assert states(conn, lot_id) == ["proposed", "proposed"]
    assert measured_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": area_m2(TREE)}
    row = conn.execute(
        text(
            "SELECT b.parcel_ids, b.source, c.bounds, c.bands, d.whole_area_m2 "
            "FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk "
            "JOIN lotline.chip c ON c.sha256 = d.chip_sha256 WHERE d.label = 'lawn'"
        )
    ).one()
    assert row == (
        ["p-1", "p-2"], "lot", [0.0, 0.0, 1.0, 1.0], ["red", "green"], area_m2(LAWN) * 2,
    )  # fmt: skip


def test_nothing_found_measures_zero(conn: Connection) -> None:
    [lot_id] = queue(conn)
    written = write_lot(conn, begin(conn), lot_id, lot(), found())
    assert written == WriteResult("done", "nothing_found")
    assert measured_m2(conn, lot_id) == {"lawn": 0.0, "tree": 0.0}


def test_overlapping_detections_count_once(conn: Connection) -> None:
    [lot_id] = queue(conn)
    half = shifted(LAWN, 3)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN), finding(half)))
    assert measured_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(square(1, 1, 9, 4)))


def test_the_same_twice_changes_nothing(conn: Connection) -> None:
    [lot_id] = queue(conn)
    run = begin(conn)
    result = found(finding(LAWN), finding(TREE, "tree"), finding(LAWN))
    assert write_lot(conn, run, lot_id, lot(), result).new == 2
    before = _everything(conn)
    written = write_lot(conn, run, lot_id, lot(), result)
    assert (written.new, written.superseded) == (0, 0)
    assert _everything(conn) == before


def test_a_later_look_supersedes_what_nobody_reviewed(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN), finding(TREE, "tree")))
    again = found(finding(shifted(LAWN, 0.1)), finding(TREE, "tree"))
    written = write_lot(conn, begin(conn), lot_id, lot(), again)
    assert written == WriteResult("done", "measured", new=1, unchanged=1, superseded=1)
    assert states(conn, lot_id) == ["superseded", "proposed", "proposed"]
    # And back again: what was superseded is history, so it is found as new.
    first = found(finding(LAWN), finding(TREE, "tree"))
    assert write_lot(conn, begin(conn), lot_id, lot(), first).new == 1
    history = text("SELECT count(*) FROM lotline.measurement WHERE NOT current")
    assert conn.execute(history).scalar() == 2


def test_a_run_says_nothing_of_labels_it_was_not_asked_for(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN), finding(TREE, "tree")))
    trees = begin(conn, ["tree"])
    assert write_lot(conn, trees, lot_id, lot(), found()).superseded == 1
    assert states(conn, lot_id) == ["proposed", "superseded"]
    assert measured_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": 0.0}


def test_a_new_boundary_is_a_new_version(conn: Connection) -> None:
    [lot_id] = queue(conn)
    for width in (10, 9, 10):
        write_lot(conn, begin(conn), lot_id, lot(width), found(finding(LAWN)))
    query = text("SELECT id, ST_XMax(geom) AS right FROM lotline.boundary ORDER BY id")
    rows = conn.execute(query).all()
    assert len(rows) == 2
    assert property_row(conn, lot_id).boundary_fk == rows[0].id
    with pytest.raises(DBAPIError, match="never changed"):
        conn.execute(text("UPDATE lotline.boundary SET area_m2 = 1"))


def test_no_imagery_keeps_the_boundary_and_what_was_found(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    nothing = LotResult("no_imagery", reason="nodata", detail="all black")
    written = write_lot(conn, begin(conn), lot_id, lot(), nothing)
    assert written == WriteResult("no_imagery", "nodata", "all black")
    prop = property_row(conn, lot_id)
    assert (prop.state, prop.reason, prop.detail) == ("no_imagery", "nodata", "all black")
    assert prop.chip_sha256 is None
    assert states(conn, lot_id) == ["proposed"]
    assert measured_m2(conn, lot_id)["lawn"] == area_m2(LAWN)


def test_without_imagery_what_was_found_in_another_boundary_ends(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    nothing = LotResult("no_imagery", reason="nodata")
    written = write_lot(conn, begin(conn), lot_id, lot(9), nothing)
    assert written == WriteResult("no_imagery", "nodata", superseded=1)
    assert states(conn, lot_id) == ["superseded"]
    assert measured_m2(conn, lot_id) == {}


@pytest.mark.parametrize("status", ["unavailable", "failed"])
def test_an_outage_is_never_written_as_a_result(conn: Connection, status: Any) -> None:
    [lot_id] = queue(conn)
    with pytest.raises(StoreError, match="no result to write"):
        write_lot(conn, begin(conn), lot_id, lot(), LotResult(status))
    assert property_row(conn, lot_id).state == "pending"


def test_one_property_twice_in_a_chunk_is_an_error(conn: Connection) -> None:
    [lot_id] = queue(conn)
    twice = [Processed(lot_id, lot(), found())] * 2
    with pytest.raises(StoreError, match="in a chunk twice"):
        write_chunk(conn, begin(conn), twice, "worker")


@pytest.mark.parametrize("broken", ["review_matches", "reconcile", "measure", "_write_result"])
def test_a_fault_in_the_middle_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    with database.engine.begin() as conn:
        first, second = queue(conn, 2)
        run = begin(conn)
        write_lot(conn, run, first, lot(), found(finding(LAWN)))
        before = _everything(conn)
        moved = found(finding(shifted(LAWN, 1)))
        with monkeypatch.context() as patch:
            patch.setattr(merge, broken, fail)
            with pytest.raises(RuntimeError, match="in the middle"):
                write_lot(conn, run, first, lot(9), moved)
        assert _everything(conn) == before
        # The caller's transaction goes on.
        write_lot(conn, run, second, lot(), found(finding(LAWN)))
    with database.engine.connect() as conn:
        assert states(conn, first) == states(conn, second) == ["proposed"]


def test_what_the_database_refuses_leaves_nothing(conn: Connection) -> None:
    [lot_id] = queue(conn)
    run = begin(conn)
    bad = replace(finding(LAWN), score=1.5)
    with pytest.raises(DBAPIError, match="detection_score_check"):
        write_lot(conn, run, lot_id, lot(), found(finding(TREE, "tree"), bad))
    assert detections(conn, lot_id) == []
    assert property_row(conn, lot_id).state == "pending"


# What people said


def test_what_was_rejected_stays_rejected_also_if_it_moved_a_little(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    [lawn] = detections(conn, lot_id)
    verdicts.reject(conn, lawn.id, "ann")
    for x in (0, 0.5, 1.9):  # IoU of 1, 0.85 and 0.52
        again = write_lot(conn, begin(conn), lot_id, lot(), found(finding(shifted(LAWN, x))))
        assert again == WriteResult("done", "nothing_found", suppressed=1)
    assert states(conn, lot_id) == ["rejected"]
    assert measured_m2(conn, lot_id)["lawn"] == 0
    elsewhere = found(finding(shifted(LAWN, 2.1)))  # 0.48
    assert write_lot(conn, begin(conn), lot_id, lot(), elsewhere).new == 1


def test_a_rejected_lawn_says_nothing_of_a_tree_or_of_anotherproperty_row(conn: Connection) -> None:
    first, second = queue(conn, 2)
    run = begin(conn)
    write_lot(conn, run, first, lot(), found(finding(LAWN)))
    verdicts.reject(conn, detections(conn, first)[0].id, "ann")
    assert write_lot(conn, run, first, lot(), found(finding(LAWN, "tree"))).new == 1
    assert write_lot(conn, run, second, lot(), found(finding(LAWN))).new == 1


def test_it_stays_rejected_on_a_new_version_of_the_boundary(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    verdicts.reject(conn, detections(conn, lot_id)[0].id, "ann")
    assert write_lot(conn, begin(conn), lot_id, lot(9), found(finding(LAWN))).suppressed == 1


def test_each_of_the_same_findings_gives_way(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    verdicts.reject(conn, detections(conn, lot_id)[0].id, "ann")
    twice = found(finding(LAWN), finding(LAWN, score=0.5))
    assert write_lot(conn, begin(conn), lot_id, lot(), twice).suppressed == 2


def test_an_edit_stays_and_is_measured(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    [lawn] = detections(conn, lot_id)
    drawn = square(1, 1, 2, 4)  # a third of what was found
    verdicts.edit(conn, lawn.id, "ann", drawn)
    # The same finding again, one that is like the edit, and one on which nobody said anything.
    again = [finding(LAWN), finding(shifted(drawn, 0.2)), finding(TREE)]
    written = write_lot(conn, begin(conn), lot_id, lot(), found(*again))
    assert (written.new, written.suppressed) == (1, 2)
    assert states(conn, lot_id) == ["accepted", "proposed"]
    assert measured_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(drawn) + area_m2(TREE))


def test_a_tree_that_a_person_called_a_lawn_is_not_found_as_a_tree_again(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN, "tree")))
    verdicts.relabel(conn, detections(conn, lot_id)[0].id, "ann", "lawn")
    both = found(finding(LAWN, "tree"), finding(LAWN, "lawn"))
    assert write_lot(conn, begin(conn), lot_id, lot(), both).suppressed == 2
    assert measured_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": 0.0}


def test_pieces_of_what_a_person_drew_in_one_are_decided_each(conn: Connection) -> None:
    [lot_id] = queue(conn)
    front, back = square(1, 0, 6, 1), square(1, 5, 6, 5)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN)))
    [lawn] = detections(conn, lot_id)
    verdicts.edit(conn, lawn.id, "ann", MultiPolygon([*front.geoms, *back.geoms]))
    again = found(finding(front), finding(back), finding(LAWN))
    assert write_lot(conn, begin(conn), lot_id, lot(), again).suppressed == 3
    assert states(conn, lot_id) == ["accepted"]
    assert measured_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(front) + area_m2(back))


def test_front_and_back_lawn_are_reviewed_each_for_itself(conn: Connection) -> None:
    [lot_id] = queue(conn)
    front, back = square(1, 0, 6, 1), square(1, 5, 6, 5)
    both = found(finding(front), finding(back))
    write_lot(conn, begin(conn), lot_id, lot(), both)
    verdicts.reject(conn, detections(conn, lot_id)[0].id, "ann")
    again = write_lot(conn, begin(conn), lot_id, lot(), both)
    assert (again.unchanged, again.suppressed, again.new) == (1, 1, 0)
    assert states(conn, lot_id) == ["rejected", "proposed"]
    assert measured_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(back))


def test_what_was_restored_or_accepted_is_not_superseded(conn: Connection) -> None:
    [lot_id] = queue(conn)
    write_lot(conn, begin(conn), lot_id, lot(), found(finding(LAWN), finding(TREE, "tree")))
    lawn, tree = detections(conn, lot_id)
    verdicts.reject(conn, lawn.id, "ann")
    verdicts.restore(conn, lawn.id, "bob")
    verdicts.accept(conn, tree.id, "ann")
    assert write_lot(conn, begin(conn), lot_id, lot(), found()).reason == "measured"
    assert states(conn, lot_id) == ["proposed", "accepted"]
    assert measured_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": area_m2(TREE)}


def test_a_measurement_refers_to_live_detections_of_its_label_and_property(
    conn: Connection,
) -> None:
    first, second = queue(conn, 2)
    run = begin(conn)
    write_lot(conn, run, first, lot(), found(finding(LAWN), finding(TREE, "tree")))
    write_lot(conn, run, second, lot(), found())
    lawn, tree = detections(conn, first)

    def measured() -> int:
        """The current measurement of the first property's lawn."""
        query = text(
            "SELECT id FROM lotline.measurement "
            "WHERE property_fk = :id AND label = 'lawn' AND current"
        )
        return int(conn.execute(query, {"id": first}).scalar_one())

    rows = conn.execute(text("SELECT property_fk, label, id FROM lotline.measurement"))
    of = {(row.property_fk, row.label): row.id for row in rows}
    insert = text(
        "INSERT INTO lotline.measurement_detection (measurement_fk, detection_fk, property_fk) "
        "VALUES (:measurement, :detection, :property)"
    )

    def count(measurement: int, detection: int, property_fk: int) -> None:
        values = {"measurement": measurement, "detection": detection, "property": property_fk}
        with conn.begin_nested():
            conn.execute(insert, values)

    with pytest.raises(DBAPIError, match="which is a tree"):
        count(of[first, "lawn"], tree.id, first)
    with pytest.raises(DBAPIError, match="foreign key"):
        count(of[second, "lawn"], lawn.id, first)
    with pytest.raises(DBAPIError, match="foreign key"):
        count(of[second, "lawn"], lawn.id, second)
    with pytest.raises(DBAPIError, match=r"foreign key|cannot count"):
        count(of[first, "lawn"], 10**9, first)
    verdicts.reject(conn, lawn.id, "ann")
    with pytest.raises(DBAPIError, match="which is rejected"):
        count(measured(), lawn.id, first)


def test_the_same_detections_measure_the_same_to_the_last_bit(conn: Connection) -> None:
    [lot_id] = queue(conn)
    pieces = [finding(shifted(square(0.1, 0.3, 1.7, 1.1), 1.3 * i)) for i in range(7)]
    write_lot(conn, begin(conn), lot_id, lot(), found(*pieces))
    before = measured_m2(conn, lot_id)
    third = detections(conn, lot_id)[3].id
    verdicts.reject(conn, third, "ann")
    assert measured_m2(conn, lot_id) != before
    verdicts.restore(conn, third, "ann")
    assert measured_m2(conn, lot_id) == before
    write_lot(conn, begin(conn), lot_id, lot(), found(*reversed(pieces)))
    assert measured_m2(conn, lot_id) == before
