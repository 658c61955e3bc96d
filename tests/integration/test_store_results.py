"""Writing lots: atomic, idempotent, and consistent with reviews."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lots import (
    CHIP,
    LAWN,
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
    """Every row of every table, except timestamps of properties."""
    tables = ("boundary", "chip", "detection", "review", "measurement", "measurement_detection")
    rows = {name: conn.execute(text(f"TABLE lotline.{name}")).all() for name in tables}
    rows["property"] = conn.execute(
        text("SELECT id, state, reason, boundary_fk, coverage_fraction FROM lotline.property")
    ).all()
    return {name: sorted(map(str, found_rows)) for name, found_rows in rows.items()}


def test_write_stores_boundary_chip_detections_and_measurements(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    run = start_run(conn)
    result = make_result(make_detection(LAWN), make_detection(TREE, "tree"), coverage_fraction=0.9)
    assert write_lot(conn, run, lot_id, make_boundary(), result) == WriteResult(
        "done", "measured", new=2
    )
    prop = read_property(conn, lot_id)
    assert (prop.state, prop.reason, prop.coverage_fraction) == ("done", "measured", 0.9)
    assert (prop.run_fk, prop.chip_sha256, prop.lease_owner) == (run.id, CHIP.sha256, None)
    assert read_states(conn, lot_id) == ["proposed", "proposed"]
    assert read_areas_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": area_m2(TREE)}
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
    [lot_id] = load_properties(conn)
    written = write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result())
    assert written == WriteResult("done", "nothing_found")
    assert read_areas_m2(conn, lot_id) == {"lawn": 0.0, "tree": 0.0}


def test_a_run_of_other_labels_that_finds_nothing_leaves_what_is_measured(
    conn: Connection,
) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    again = write_lot(conn, start_run(conn, ["pool"]), lot_id, make_boundary(), make_result())
    assert again == WriteResult("done", "measured")
    assert read_areas_m2(conn, lot_id)["lawn"] == area_m2(LAWN)
    moved = write_lot(conn, start_run(conn, ["pool"]), lot_id, make_boundary(8), make_result())
    assert moved == WriteResult("done", "nothing_found", superseded=1)


def test_overlapping_detections_count_once(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    half = shifted(LAWN, 3)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(half)),
    )
    assert read_areas_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(square(1, 1, 9, 4)))


def test_writing_the_same_result_twice_changes_nothing(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    run = start_run(conn)
    result = make_result(make_detection(LAWN), make_detection(TREE, "tree"), make_detection(LAWN))
    assert write_lot(conn, run, lot_id, make_boundary(), result).new == 2
    before = _everything(conn)
    written = write_lot(conn, run, lot_id, make_boundary(), result)
    assert (written.new, written.superseded) == (0, 0)
    assert _everything(conn) == before


def test_later_run_supersedes_unreviewed_detections(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(TREE, "tree")),
    )
    again = make_result(make_detection(shifted(LAWN, 0.1)), make_detection(TREE, "tree"))
    written = write_lot(conn, start_run(conn), lot_id, make_boundary(), again)
    assert written == WriteResult("done", "measured", new=1, unchanged=1, superseded=1)
    assert read_states(conn, lot_id) == ["superseded", "proposed", "proposed"]
    # A superseded detection is history: the same finding is new again.
    first = make_result(make_detection(LAWN), make_detection(TREE, "tree"))
    assert write_lot(conn, start_run(conn), lot_id, make_boundary(), first).new == 1
    history = text("SELECT count(*) FROM lotline.measurement WHERE NOT current")
    assert conn.execute(history).scalar() == 2


def test_run_does_not_change_labels_it_did_not_request(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(TREE, "tree")),
    )
    trees = start_run(conn, ["tree"])
    assert write_lot(conn, trees, lot_id, make_boundary(), make_result()).superseded == 1
    assert read_states(conn, lot_id) == ["proposed", "superseded"]
    assert read_areas_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": 0.0}


def test_a_new_boundary_is_a_new_version(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    for width in (10, 9, 10):
        write_lot(
            conn, start_run(conn), lot_id, make_boundary(width), make_result(make_detection(LAWN))
        )
    query = text("SELECT id, ST_XMax(geom) AS right FROM lotline.boundary ORDER BY id")
    rows = conn.execute(query).all()
    assert len(rows) == 2
    assert read_property(conn, lot_id).boundary_fk == rows[0].id
    with pytest.raises(DBAPIError, match="never changed"):
        conn.execute(text("UPDATE lotline.boundary SET area_m2 = 1"))


def test_no_imagery_keeps_detections_of_the_same_boundary(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    nothing = LotResult("no_imagery", reason="nodata", detail="all black")
    written = write_lot(conn, start_run(conn), lot_id, make_boundary(), nothing)
    assert written == WriteResult("no_imagery", "nodata", "all black")
    prop = read_property(conn, lot_id)
    assert (prop.state, prop.reason, prop.detail) == ("no_imagery", "nodata", "all black")
    assert prop.chip_sha256 is None
    assert read_states(conn, lot_id) == ["proposed"]
    assert read_areas_m2(conn, lot_id)["lawn"] == area_m2(LAWN)


def test_no_imagery_with_a_new_boundary_supersedes_detections(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    nothing = LotResult("no_imagery", reason="nodata")
    written = write_lot(conn, start_run(conn), lot_id, make_boundary(9), nothing)
    assert written == WriteResult("no_imagery", "nodata", superseded=1)
    assert read_states(conn, lot_id) == ["superseded"]
    assert read_areas_m2(conn, lot_id) == {}


@pytest.mark.parametrize("status", ["unavailable", "failed"])
def test_an_outage_is_never_written_as_a_result(conn: Connection, status: Any) -> None:
    [lot_id] = load_properties(conn)
    with pytest.raises(StoreError, match="no result to write"):
        write_lot(conn, start_run(conn), lot_id, make_boundary(), LotResult(status))
    assert read_property(conn, lot_id).state == "pending"


def test_chunk_with_a_duplicate_property_is_an_error(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    twice = [Processed(lot_id, make_boundary(), make_result())] * 2
    with pytest.raises(StoreError, match="in a chunk twice"):
        write_chunk(conn, start_run(conn), twice, "worker")


@pytest.mark.parametrize(
    "broken", ["leave_decided_ground", "reconcile", "measure", "_write_result"]
)
def test_failed_write_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    with database.engine.begin() as conn:
        first, second = load_properties(conn, 2)
        run = start_run(conn)
        write_lot(conn, run, first, make_boundary(), make_result(make_detection(LAWN)))
        before = _everything(conn)
        moved = make_result(make_detection(shifted(LAWN, 1)))
        with monkeypatch.context() as patch:
            patch.setattr(merge, broken, fail)
            with pytest.raises(RuntimeError, match="in the middle"):
                write_lot(conn, run, first, make_boundary(9), moved)
        assert _everything(conn) == before
        # The caller's transaction continues.
        write_lot(conn, run, second, make_boundary(), make_result(make_detection(LAWN)))
    with database.engine.connect() as conn:
        assert read_states(conn, first) == read_states(conn, second) == ["proposed"]


def test_refused_row_changes_nothing(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    run = start_run(conn)
    bad = replace(make_detection(LAWN), score=1.5)
    with pytest.raises(DBAPIError, match="detection_score_check"):
        write_lot(
            conn, run, lot_id, make_boundary(), make_result(make_detection(TREE, "tree"), bad)
        )
    assert read_detections(conn, lot_id) == []
    assert read_property(conn, lot_id).state == "pending"


# Reviews


def test_finding_that_matches_a_rejected_detection_is_suppressed(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    [lawn] = read_detections(conn, lot_id)
    verdicts.reject(conn, lawn.id, "ann")
    for x in (0, 0.5, 1.9):  # IoU of 1, 0.85 and 0.52
        again = write_lot(
            conn,
            start_run(conn),
            lot_id,
            make_boundary(),
            make_result(make_detection(shifted(LAWN, x))),
        )
        assert again == WriteResult("done", "nothing_found", suppressed=1)
    assert read_states(conn, lot_id) == ["rejected"]
    assert read_areas_m2(conn, lot_id)["lawn"] == 0
    # IoU of 0.48, but 65 % of it lies on rejected ground; then 45 %.
    mostly_on_it = make_result(make_detection(shifted(LAWN, 2.1)))
    assert write_lot(conn, start_run(conn), lot_id, make_boundary(), mostly_on_it).suppressed == 1
    elsewhere = make_result(make_detection(shifted(LAWN, 3.3)))
    assert write_lot(conn, start_run(conn), lot_id, make_boundary(), elsewhere).new == 1


def test_rejection_is_of_the_ground_and_not_of_other_labels(conn: Connection) -> None:
    first, second = load_properties(conn, 2)
    run = start_run(conn)
    write_lot(conn, run, first, make_boundary(), make_result(make_detection(LAWN)))
    verdicts.reject(conn, read_detections(conn, first)[0].id, "ann")
    assert (
        write_lot(conn, run, first, make_boundary(), make_result(make_detection(LAWN, "tree"))).new
        == 1
    )
    # The other property of a shared lot: the same ground.
    there = write_lot(conn, run, second, make_boundary(), make_result(make_detection(LAWN)))
    assert (there.new, there.suppressed) == (0, 1)


def test_rejection_applies_to_a_new_boundary_version(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    verdicts.reject(conn, read_detections(conn, lot_id)[0].id, "ann")
    assert (
        write_lot(
            conn, start_run(conn), lot_id, make_boundary(9), make_result(make_detection(LAWN))
        ).suppressed
        == 1
    )


def test_each_duplicate_finding_is_suppressed(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    verdicts.reject(conn, read_detections(conn, lot_id)[0].id, "ann")
    twice = make_result(make_detection(LAWN), make_detection(LAWN, score=0.5))
    assert write_lot(conn, start_run(conn), lot_id, make_boundary(), twice).suppressed == 2


def test_edited_outline_stays_and_is_measured(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    [lawn] = read_detections(conn, lot_id)
    drawn = square(1, 1, 2, 4)  # a third of what was found
    verdicts.edit(conn, lawn.id, "ann", drawn)
    # The same finding again, one that matches the edit, and one without a review.
    again = [make_detection(LAWN), make_detection(shifted(drawn, 0.2)), make_detection(TREE)]
    written = write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(*again))
    assert (written.new, written.suppressed) == (1, 2)
    assert read_states(conn, lot_id) == ["accepted", "proposed"]
    assert read_areas_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(drawn) + area_m2(TREE))


def test_finding_with_the_label_before_a_relabel_is_suppressed(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN, "tree"))
    )
    verdicts.relabel(conn, read_detections(conn, lot_id)[0].id, "ann", "lawn")
    both = make_result(make_detection(LAWN, "tree"), make_detection(LAWN, "lawn"))
    assert write_lot(conn, start_run(conn), lot_id, make_boundary(), both).suppressed == 2
    assert read_areas_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": 0.0}


def test_findings_match_single_polygons_of_an_edited_multipolygon(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    front, back = square(1, 0, 6, 1), square(1, 5, 6, 5)
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(make_detection(LAWN)))
    [lawn] = read_detections(conn, lot_id)
    verdicts.edit(conn, lawn.id, "ann", MultiPolygon([*front.geoms, *back.geoms]))
    again = make_result(make_detection(front), make_detection(back), make_detection(LAWN))
    assert write_lot(conn, start_run(conn), lot_id, make_boundary(), again).suppressed == 3
    assert read_states(conn, lot_id) == ["accepted"]
    assert read_areas_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(front) + area_m2(back))


def test_review_of_one_detection_leaves_its_neighbour(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    front, back = square(1, 0, 6, 1), square(1, 5, 6, 5)
    both = make_result(make_detection(front), make_detection(back))
    write_lot(conn, start_run(conn), lot_id, make_boundary(), both)
    verdicts.reject(conn, read_detections(conn, lot_id)[0].id, "ann")
    again = write_lot(conn, start_run(conn), lot_id, make_boundary(), both)
    assert (again.unchanged, again.suppressed, again.new) == (1, 1, 0)
    assert read_states(conn, lot_id) == ["rejected", "proposed"]
    assert read_areas_m2(conn, lot_id)["lawn"] == pytest.approx(area_m2(back))


def test_restored_and_accepted_detections_are_not_superseded(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    write_lot(
        conn,
        start_run(conn),
        lot_id,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(TREE, "tree")),
    )
    lawn, tree = read_detections(conn, lot_id)
    verdicts.reject(conn, lawn.id, "ann")
    verdicts.restore(conn, lawn.id, "bob")
    verdicts.accept(conn, tree.id, "ann")
    assert (
        write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result()).reason
        == "measured"
    )
    assert read_states(conn, lot_id) == ["proposed", "accepted"]
    assert read_areas_m2(conn, lot_id) == {"lawn": area_m2(LAWN), "tree": area_m2(TREE)}


def test_measurement_counts_live_detections_of_its_label_and_property(
    conn: Connection,
) -> None:
    first, second = load_properties(conn, 2)
    run = start_run(conn)
    write_lot(
        conn,
        run,
        first,
        make_boundary(),
        make_result(make_detection(LAWN), make_detection(TREE, "tree")),
    )
    write_lot(conn, run, second, make_boundary(), make_result())
    lawn, tree = read_detections(conn, first)

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


def test_equal_detections_measure_equal_to_the_last_bit(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    pieces = [make_detection(shifted(square(0.1, 0.3, 1.7, 1.1), 1.3 * i)) for i in range(7)]
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(*pieces))
    before = read_areas_m2(conn, lot_id)
    third = read_detections(conn, lot_id)[3].id
    verdicts.reject(conn, third, "ann")
    assert read_areas_m2(conn, lot_id) != before
    verdicts.restore(conn, third, "ann")
    assert read_areas_m2(conn, lot_id) == before
    write_lot(conn, start_run(conn), lot_id, make_boundary(), make_result(*reversed(pieces)))
    assert read_areas_m2(conn, lot_id) == before


def test_a_corrected_date_of_the_same_pixels_is_stored(conn: Connection) -> None:
    [lot_id] = load_properties(conn)
    result = make_result(make_detection(LAWN))
    write_lot(conn, start_run(conn), lot_id, make_boundary(), result)
    corrected = replace(CHIP, captured_on="2024", chip_gsd_m=1.2)
    again = write_lot(
        conn, start_run(conn), lot_id, make_boundary(), replace(result, chip=corrected)
    )
    assert (again.new, again.unchanged) == (0, 1)
    rows = conn.execute(text("SELECT captured_on, gsd_m, chip_gsd_m FROM lotline.chip")).all()
    assert rows == [("2024", 0.6, 1.2)]


def test_a_chunk_is_written_without_the_indexes_of_the_contact_sheet(conn: Connection) -> None:
    """In a table without statistics the planner once read all of one for each property."""
    lots = load_properties(conn, 5)
    for lot_id in lots * 2:
        result = make_result(make_detection(LAWN), make_detection(TREE, "tree"))
        write_lot(conn, start_run(conn), lot_id, make_boundary(), result)
    scans = text("SELECT pg_stat_get_xact_numscans(CAST(:index AS regclass))")
    for index in ("detection_sheet_score_idx", "detection_sheet_area_idx"):
        assert conn.execute(scans, {"index": f"lotline.{index}"}).scalar_one() == 0
    assert conn.execute(scans, {"index": "lotline.detection_live_key"}).scalar_one() > 0
