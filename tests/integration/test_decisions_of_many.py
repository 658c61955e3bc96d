"""Decisions in a large county are found by property, not by reading all detections."""

from __future__ import annotations

import pytest
from bigcounty import create_county
from sentstatements import sent_statements
from sqlalchemy import Connection, text

from pipeline.store.database import Database
from pipeline.store.reads.fully_reviewed import fully_reviewed_keys, reviewed_property
from pipeline.store.reads.new_corrections import LabelCorrections, new_corrections

COUNTY = "large"
LOTS = 3_000
_REVIEW = """
INSERT INTO lotline.full_review (property_fk, boundary_fk, chip_sha256, labels, is_full, reviewer)
    SELECT id, boundary_fk, chip_sha256, ARRAY['lawn', 'tree', 'roof', 'pool'], true, 'ann'
    FROM lotline.property WHERE boundary_fk IS NOT NULL;
INSERT INTO lotline.review (detection_fk, action, reviewer, label)
    SELECT id, CASE label WHEN 'pool' THEN 'reject' ELSE 'accept' END, 'ann', label
    FROM lotline.detection;
UPDATE lotline.detection SET state = CASE label WHEN 'pool' THEN 'rejected' ELSE 'accepted' END;
UPDATE lotline.detection SET state = 'superseded' WHERE label = 'tree';
ANALYZE lotline.full_review, lotline.review, lotline.detection
"""


@pytest.fixture
def large(conn: Connection) -> Connection:
    create_county(conn, COUNTY, LOTS, corners=8)
    conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
    conn.exec_driver_sql(_REVIEW)
    return conn


def test_no_statement_reads_the_detections_of_all(large: Connection, database: Database) -> None:
    with sent_statements(database.engine) as asked:
        found = new_corrections(large, [COUNTY], set())
        keys = fully_reviewed_keys(large, COUNTY)
        one = reviewed_property(large, keys[0])
    lots = len(keys)
    assert found == [
        LabelCorrections("lawn", 0, lots, lots),
        LabelCorrections("pool", lots, 0, lots),
        LabelCorrections("roof", 0, lots, lots),
        LabelCorrections("tree", 0, lots, lots),
    ]
    assert one is not None
    assert len(one.events) == 4, "also of what was rejected, or superseded later"
    for statement, values in asked:
        rows = large.exec_driver_sql(f"EXPLAIN {statement}", values).scalars()
        plan = "\n".join(rows)
        assert "detection_id_property_fk_key" not in plan, plan
    assert any("lotline.detection" in statement for statement, _ in asked)


def test_known_decisions_are_not_new(large: Connection) -> None:
    known = set(
        large.execute(text("SELECT id FROM lotline.review WHERE label <> 'roof'")).scalars()
    )
    [found] = new_corrections(large, [COUNTY], known)
    assert (found.label, found.corrected) == ("roof", 0)
