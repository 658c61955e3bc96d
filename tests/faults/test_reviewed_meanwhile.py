"""Fault 17: people review while runs process the same lots again; every review stays."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import shapely
from integration.lots import (
    LAWN,
    TREE,
    lease_to,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    shifted,
    start_run,
)
from shapely import MultiPolygon
from sqlalchemy import text

from pipeline.errors import StoreError
from pipeline.store.database import Database
from pipeline.store.results import writer
from pipeline.store.results.outcomes import Processed, RunInfo
from pipeline.store.reviews import verdicts

LOTS = 40
REVIEW_MATCH_IOU = 0.5

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


def run_again(database: Database, run: RunInfo, ids: list[int], shift: float) -> None:
    """A run finds the same lawn and tree, shifted a little."""
    with database.engine.begin() as conn:
        lease_to(conn, ids, "worker")
    lots = [_lot(fk, shift) for fk in ids]
    written = writer.write(database.engine, run, lots, "worker")
    assert all(written[fk].state == "done" for fk in ids)


def _lot(property_fk: int, shift: float) -> Processed:
    """A garden on the property's own ground: verdicts hold for the ground."""
    east = property_fk * 20.0
    outline = shifted(make_boundary().geometry, east)
    garden = make_result(
        make_detection(shifted(LAWN, east + shift)),
        make_detection(shifted(TREE, east + shift), "tree"),
    )
    return Processed(property_fk, replace(make_boundary(), geometry=outline), garden)


def review_at_random(database: Database, rng: random.Random, over: threading.Event) -> list[int]:
    """Reject or edit one detection after another; returns the ids of the reviewed ones."""
    reviewed: list[int] = []
    while not over.is_set():
        time.sleep(rng.uniform(0, 0.01))
        with database.engine.connect() as conn:
            rows = conn.execute(text(_OPEN)).all()
        if not rows:
            continue
        row = rng.choice(rows)
        try:
            with database.engine.begin() as conn:
                # Otherwise all detections would be rejected in the end.
                if row.property_fk % 2:
                    verdicts.reject(conn, row.id, "ann", expected_version=row.version)
                else:
                    drawn = shapely.from_wkb(row.geom).buffer(
                        rng.choice((-2e-6, 2e-6)), join_style="mitre"
                    )
                    verdicts.edit(conn, row.id, "ann", drawn, expected_version=row.version)
        except StoreError:
            continue  # a run was first, and the reviewer gets an error
        reviewed.append(row.id)
    return reviewed


def check_reviews(database: Database) -> tuple[int, int]:
    """Check that every review still applies; returns the numbers of rejected and edited ones."""
    with database.engine.connect() as conn:
        reviews = {row.detection_fk: row for row in conn.execute(text(_LATEST))}
        detections = {row.id: row for row in conn.execute(text(_DETECTIONS))}
    by_lot: dict[tuple[int, str], list[Any]] = {}
    for row in detections.values():
        by_lot.setdefault((row.property_fk, row.label), []).append(row)
    rejected = edited = 0
    for detection_id, review in reviews.items():
        row = detections[detection_id]
        geometry = shapely.from_wkb(row.geom)
        if review.action == "reject":
            rejected += 1
            assert row.state == "rejected"
        else:
            edited += 1
            assert row.state == "accepted"
            assert geometry.equals(shapely.from_wkb(review.geom)), "an edit is lost"
        for other in by_lot[row.property_fk, row.label]:
            if not other.reviewed:
                assert _iou(geometry, shapely.from_wkb(other.geom)) < REVIEW_MATCH_IOU, (
                    "it came back"
                )
    return rejected, edited


def _iou(one: MultiPolygon, other: MultiPolygon) -> float:
    return float(one.intersection(other).area / one.union(other).area)


@pytest.mark.parametrize("runs", [30, pytest.param(1_000, marks=pytest.mark.long)])
def test_reviews_stay_during_repeated_runs(
    database: Database, runs: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(17)
    with database.engine.begin() as conn:
        ids = load_properties(conn, LOTS)
        run = start_run(conn)
    run_again(database, run, ids, 0.0)
    over = threading.Event()
    reviewed: list[int] = []
    reviewer = threading.Thread(
        target=lambda: reviewed.extend(review_at_random(database, random.Random(18), over))
    )
    reviewer.start()
    try:
        for _ in range(runs):
            with database.engine.begin() as conn:
                run = start_run(conn)
            chosen = sorted(rng.sample(ids, rng.randint(1, LOTS)))
            run_again(database, run, chosen, rng.uniform(-0.5, 0.5))
    finally:
        over.set()
        reviewer.join()
    assert len(reviewed) > 10
    rejected, edited = check_reviews(database)
    assert rejected
    assert edited
    if runs >= 1_000:
        record_property(
            "Reviews while detection runs again",
            f"{runs:,} runs over {LOTS} lots, {len(reviewed):,} reviews in between: {rejected} "
            f"rejected and none came back, {edited} redrawn and none was lost",
        )
