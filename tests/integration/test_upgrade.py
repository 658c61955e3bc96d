"""A database of an earlier version is upgraded and keeps all its rows."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from lots import (
    COUNTY,
    LAT,
    LON,
    make_boundary,
    make_detection,
    make_result,
    read_areas_m2,
    read_detections,
    square,
    start_run,
    write_lot,
)
from sqlalchemy import Connection, text

from parcels.boundary import Property
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.queue import loading
from pipeline.store.queue.leases import LeaseScan
from pipeline.store.reads import row_cursors
from pipeline.store.reviews import verdicts

LAWN = square(1, 1, 6, 4)


def _to_first(connection: Connection) -> None:
    connection.execute(text("CREATE SCHEMA lotline"))
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS postgis"))
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


# As the first version wrote them: a lot by id, one by point, a buffer, and a pending property.
ROWS = f"""
INSERT INTO lotline.property (county, property_id, point, parcel_id, address, state, reason) VALUES
    ('{COUNTY}', 'by-id', NULL, '0 17', '1 Elm St', 'done', 'measured'),
    ('{COUNTY}', 'at-point', ST_SetSRID(ST_MakePoint({LON}, {LAT}), 4326), NULL, NULL,
     'done', 'measured'),
    ('{COUNTY}', 'circle', ST_SetSRID(ST_MakePoint({LON}, {LAT}), 4326), NULL, NULL,
     'done', 'nothing_found'),
    ('{COUNTY}', 'waits', ST_SetSRID(ST_MakePoint({LON}, {LAT}), 4326), '0 18', NULL,
     'pending', '');
INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, method, origin, parcel_ids,
    version, fetched_at)
SELECT id, CASE property_id WHEN 'circle' THEN 'buffer_30m' ELSE 'lot' END,
    ST_GeomFromText('{make_boundary().geometry.wkt}', 4326), 100,
    CASE property_id WHEN 'by-id' THEN 'parcel_id' WHEN 'at-point' THEN 'point' ELSE 'no_lot' END,
    'synthetic', '{{p-1}}', '{make_boundary().version}', now()
FROM lotline.property WHERE property_id <> 'waits';
UPDATE lotline.property SET boundary_fk = boundary.id, imaged_share = 1
FROM lotline.boundary WHERE property_fk = property.id;
"""


@pytest.fixture
def upgraded(empty_database: Database) -> Database:
    """A database that the first version created and filled, upgraded to the code's revision."""
    with empty_database.engine.begin() as connection:
        _to_first(connection)
        connection.execute(text(ROWS))
        connection.execute(
            text("CREATE TABLE was AS SELECT id, property_id, state, reason, boundary_fk, sort_key "
                 "FROM lotline.property")
        )  # fmt: skip
    schema.upgrade(empty_database.engine)
    return empty_database


def test_upgrade_keeps_every_row_and_fills_lookup_methods(upgraded: Database) -> None:
    with upgraded.engine.connect() as conn:
        assert schema.check(conn)
        lost = conn.execute(
            text("SELECT * FROM was EXCEPT SELECT id, property_id, state, reason, boundary_fk, "
                 "sort_key FROM lotline.property")
        ).all()  # fmt: skip
        assert lost == []
        [frame] = row_cursors.iter_properties(conn, COUNTY)
    by_id = frame.set_index("property_id")
    assert by_id["method"].dropna().to_dict() == {
        "by-id": "parcel_id", "at-point": "point", "circle": "no_lot",
    }  # fmt: skip
    assert by_id["located_by"].dropna().to_dict() == {"at-point": "given", "circle": "given"}
    assert by_id.loc["circle", "confidence"] == 1
    assert by_id.loc["circle", "source"] == "buffer_30m"


def test_batch_continues_after_the_upgrade(upgraded: Database) -> None:
    with upgraded.engine.begin() as conn:
        alone = Property("alone", address="3 Elm St")
        assert loading.load(conn, COUNTY, [alone]).new == 1
        run = start_run(conn)
        taken = LeaseScan(COUNTY, "a", run.id, 60).lease(conn, 9)
        assert [item.property.property_id for item in taken] == ["waits", "alone"]
        assert taken[1].property == alone
        by_name = {item.property.property_id: item.id for item in taken}
        write_lot(conn, run, by_name["alone"], make_boundary(), make_result(make_detection(LAWN)))
        verdicts.accept(conn, read_detections(conn, by_name["alone"])[0].id, "ann")
        assert read_areas_m2(conn, by_name["alone"])["lawn"] > 0
        # The same boundary as that of the first version is the same row.
        [at_point] = conn.execute(
            text("SELECT id FROM lotline.property WHERE property_id = 'at-point'")
        ).scalars()
        write_lot(conn, run, at_point, make_boundary(), make_result(make_detection(LAWN)))
        count = text("SELECT count(*) FROM lotline.boundary WHERE property_fk = :id")
        assert conn.execute(count, {"id": at_point}).scalar_one() == 1
