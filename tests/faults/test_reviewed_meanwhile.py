"""Fault 17: people review while detection runs again over the same lots. A person's word stands."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import shapely
from integration.lots import LAWN, TREE, begin, finding, found, hold, lot, queue, shifted
from shapely import MultiPolygon
from sqlalchemy import text

from pipeline.errors import StoreError
from pipeline.store.database import Database
from pipeline.store.results import writer
from pipeline.store.results.outcomes import Processed, RunInfo
from pipeline.store.reviews import verdicts

LOTS = 40
SAME_IOU = 0.5

_OPEN = """
SELECT id, property_fk, ST_AsBinary(geom) AS geom, version FROM lotline.detection
WHERE state IN ('proposed', 'accepted')
"""
_LATEST = """
SELECT DISTINCT ON (detection_fk) detection_fk, action, ST_AsBinary(geom) AS geom
FROM lotline.review ORDER BY detection_fk, id DESC
"""
_DETECTIONS = """
SELECT id, property_fk, label, state, review_fk IS NOT NULL AS reviewed, ST_AsBinary(geom) AS geom
FROM lotline.detection WHERE state <> 'superseded'
"""


def look_again(database: Database, run: RunInfo, ids: list[int], aside: float) -> None:
    """A run finds the same lawn and tree a little aside."""
    garden = found(finding(shifted(LAWN, aside)), finding(shifted(TREE, aside), "tree"))
    with database.engine.begin() as conn:
        hold(conn, ids, "worker")
    written = writer.write(
        database.engine, run, [Processed(fk, lot(), garden) for fk in ids], "worker"
    )
    assert all(written[fk].state == "done" for fk in ids)


def review_at_random(database: Database, rng: random.Random, over: threading.Event) -> list[int]:
    """Reject or redraw one detection after the other; the numbers of those that were decided."""
    decided: list[int] = []
    while not over.is_set():
        time.sleep(rng.uniform(0, 0.01))
        with database.engine.connect() as conn:
            rows = conn.execute(text(_OPEN)).all()
        if not rows:
            continue
        row = rng.choice(rows)
        try:
            with database.engine.begin() as conn:
                # Else all that there is would be rejected in the end.
                if row.property_fk % 2:
                    verdicts.reject(conn, row.id, "ann", expected_version=row.version)
                else:
                    drawn = shapely.from_wkb(row.geom).buffer(
                        rng.choice((-2e-6, 2e-6)), join_style="mitre"
                    )
                    verdicts.edit(conn, row.id, "ann", drawn, expected_version=row.version)
        except StoreError:
            continue  # a run was there first, and the person is told so
        decided.append(row.id)
    return decided


def check_every_word_stands(database: Database) -> tuple[int, int]:
    """How many were rejected, and how many are as a person drew them."""
    with database.engine.connect() as conn:
        said = {row.detection_fk: row for row in conn.execute(text(_LATEST))}
        kept = {row.id: row for row in conn.execute(text(_DETECTIONS))}
    by_lot: dict[tuple[int, str], list[Any]] = {}
    for row in kept.values():
        by_lot.setdefault((row.property_fk, row.label), []).append(row)
    rejected = edited = 0
    for number, word in said.items():
        row = kept[number]
        geometry = shapely.from_wkb(row.geom)
        if word.action == "reject":
            rejected += 1
            assert row.state == "rejected"
        else:
            edited += 1
            assert row.state == "accepted"
            assert geometry.equals(shapely.from_wkb(word.geom)), "an edit is lost"
        for other in by_lot[row.property_fk, row.label]:
            if not other.reviewed:
                assert _iou(geometry, shapely.from_wkb(other.geom)) < SAME_IOU, "it came back"
    return rejected, edited


def _iou(one: MultiPolygon, other: MultiPolygon) -> float:
    return float(one.intersection(other).area / one.union(other).area)


@pytest.mark.parametrize("looks", [30, pytest.param(1_000, marks=pytest.mark.long)])
def test_a_persons_word_stands(
    database: Database, looks: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(17)
    with database.engine.begin() as conn:
        ids = queue(conn, LOTS)
        run = begin(conn)
    look_again(database, run, ids, 0.0)
    over = threading.Event()
    decided: list[int] = []
    reviewer = threading.Thread(
        target=lambda: decided.extend(review_at_random(database, random.Random(18), over))
    )
    reviewer.start()
    try:
        for _ in range(looks):
            with database.engine.begin() as conn:
                run = begin(conn)
            chosen = sorted(rng.sample(ids, rng.randint(1, LOTS)))
            look_again(database, run, chosen, rng.uniform(-0.5, 0.5))
    finally:
        over.set()
        reviewer.join()
    assert len(decided) > 10
    rejected, edited = check_every_word_stands(database)
    assert rejected
    assert edited
    if looks >= 1_000:
        record_property(
            "Reviews while detection runs again",
            f"{looks:,} runs over {LOTS} lots, {len(decided):,} reviews in between: {rejected} "
            f"rejected and none came back, {edited} redrawn and none was lost",
        )
