"""The chunk writer equals the lot-by-lot writer, for random histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onelot
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lots import (
    CHIP,
    lease_to,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    set_state,
    shifted,
    square,
    start_run,
)
from sqlalchemy import Connection, text

from detection.results import LotResult
from parcels.boundary import Boundary, Located
from pipeline.store.results.merge import write_chunk
from pipeline.store.results.outcomes import NotProcessed, Outcome, Processed, RunInfo, WriteResult
from pipeline.store.reviews import verdicts as verdicts_module

LOTS = 4
COUNTIES = ("one-by-one", "in-chunks")
LABELS = ("lawn", "tree")

# Few outlines, so that histories contain the same one again, and others that overlap it with IoUs
# of 0.85, 0.52 and 0.48, or are inside it; one is outside the narrow boundary, one on its edge.
LAWN = square(1, 1, 6, 4)
MOVED = [shifted(LAWN, x) for x in (0.5, 1.9, 2.1)]
outlines = st.sampled_from(
    [
        LAWN,
        LAWN,
        *(shifted(LAWN, x) for x in (0.5, 1.9, 2.1)),
        square(1, 1, 3, 4),
        square(6, 6, 3, 3),
    ]
)
findings = st.builds(make_detection, outlines, st.sampled_from(LABELS), st.sampled_from([0.5, 0.9]))
chips = st.sampled_from([CHIP, CHIP, replace(CHIP, sha256="d" * 64)])
results = st.one_of(
    st.builds(
        lambda found, share, chip: make_result(*found, coverage_fraction=share, chip=chip),
        st.lists(findings, max_size=4), st.sampled_from([0.5, 1.0]), chips,
    ),
    st.just(LotResult("no_imagery", reason="nodata", detail="all black")),
)  # fmt: skip
boundaries = st.builds(
    lambda width, source, note, located, method: replace(
        make_boundary(width, source), note=note, located=located, method=method
    ),
    st.sampled_from([10, 10, 10, 5]),
    st.sampled_from(["lot", "lot", "buffer_30m"]),
    st.sampled_from(["", "the point lies 9 m from the lot"]),
    st.sampled_from([None, Located(-90, 35), Located(-90, 35, "census", 0.8, True, "1 ELM")]),
    st.sampled_from(["point", "parcel_id"]),
)  # fmt: skip
not_processed = st.sampled_from(
    [("deferred", "unavailable", "HTTP 503"), ("failed", "segmenter", ""), ("pending", "", "")]
)
outcomes = st.one_of(st.tuples(boundaries, results), st.tuples(boundaries, results), not_processed)
rounds = st.tuples(
    st.lists(outcomes, min_size=LOTS, max_size=LOTS),
    st.sampled_from([LABELS, LABELS, LABELS, ("lawn",)]),
    st.sampled_from(["one", "one", "another"]),
)
verdicts = st.tuples(
    st.sampled_from(["accept", "reject", "restore", "edit", "relabel", "relabel", "add"]),
    st.integers(0, LOTS - 1),
    st.integers(0, 2),
    outlines,
    st.sampled_from(LABELS),
)


@settings(
    deadline=None,
    max_examples=60,
    phases=[Phase.generate],  # shrinking a failure takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(st.tuples(rounds, st.lists(verdicts, max_size=8)), min_size=2, max_size=4))
def test_chunk_writer_equals_lot_by_lot_writer(conn: Connection, history: list[Any]) -> None:
    example = conn.begin_nested()
    try:
        _compare(conn, history)
    finally:
        example.rollback()


def _compare(conn: Connection, history: list[Any]) -> None:
    by_lot_fks, by_chunk_fks = (load_properties(conn, LOTS, county) for county in COUNTIES)
    for (drawn, labels, segmenter), drawn_verdicts in history:
        run = replace(start_run(conn, labels), segmenter=segmenter)
        by_lot = _one_by_one(
            conn, run, [_outcome(*pair) for pair in zip(by_lot_fks, drawn, strict=True)]
        )
        lease_to(conn, by_chunk_fks)
        chunk = [_outcome(*pair) for pair in zip(by_chunk_fks, drawn, strict=True)]
        in_chunk = write_chunk(conn, run, chunk, "worker")
        assert [in_chunk[fk] for fk in by_chunk_fks] == by_lot
        assert _rows(conn, by_chunk_fks) == _rows(conn, by_lot_fks)
        before = _rows(conn, by_chunk_fks)
        lease_to(conn, by_chunk_fks)
        write_chunk(conn, run, chunk, "worker")
        assert _rows(conn, by_chunk_fks) == before, "writing is idempotent"
        for verdict in drawn_verdicts:
            _review(conn, by_lot_fks, *verdict)
            _review(conn, by_chunk_fks, *verdict)
    assert _rows(conn, by_chunk_fks) == _rows(conn, by_lot_fks)


def _outcome(property_fk: int, drawn: Any) -> Outcome:
    if isinstance(drawn[0], Boundary):
        return Processed(property_fk, *drawn)
    return NotProcessed(property_fk, *drawn)


def _one_by_one(conn: Connection, run: RunInfo, outcomes: Sequence[Outcome]) -> list[WriteResult]:
    written = []
    lease_to(conn, [outcome.property_fk for outcome in outcomes])
    for outcome in outcomes:
        fk = outcome.property_fk
        if isinstance(outcome, NotProcessed):
            state = (outcome.state, outcome.reason, outcome.detail)
            set_state(conn, [fk], *state)
            written.append(WriteResult(*state))
        else:
            written.append(onelot.write_lot(conn, run, fk, outcome.boundary, outcome.result))
    return written


def _review(
    conn: Connection, lots: Sequence[int], action: str, which: int, nth: int, *to: Any
) -> None:
    """Review a lot's nth detection, if its state allows the action."""
    rows = conn.execute(
        text("SELECT id, state FROM lotline.detection WHERE property_fk = :id AND state <> "
             "'superseded' ORDER BY id"),
        {"id": lots[which]},
    ).all()  # fmt: skip
    outline, label = to
    has_boundary = conn.execute(
        text("SELECT boundary_fk FROM lotline.property WHERE id = :id"), {"id": lots[which]}
    ).scalar()
    if action == "add":
        if has_boundary:
            verdicts_module.add(conn, lots[which], "ann", label, outline)
    elif nth < len(rows) and (rows[nth].state == "rejected") == (action == "restore"):
        more = {"edit": [outline], "relabel": [label]}.get(action, [])
        getattr(verdicts_module, action)(conn, rows[nth].id, "ann", *more)


QUERIES = {
    "property": """
        SELECT p.state, p.reason, p.detail, p.lease_owner, p.coverage_fraction, p.chip_sha256,
            p.run_fk,
            p.method, p.located_by, ST_AsText(p.located_point), p.confidence, p.matched_address,
            b.version
        FROM lotline.property p LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
        WHERE p.id = ANY(:ids) ORDER BY p.id""",
    "boundary": """
        SELECT source, ST_AsBinary(geom), area_m2, origin, parcel_ids, version
        FROM lotline.boundary WHERE property_fk = ANY(:ids) ORDER BY property_fk, id""",
    "detection": """
        SELECT b.version, d.run_fk, d.chip_sha256, d.label, d.prompt, d.segmenter, d.score,
            d.relation, ST_AsBinary(d.geom), d.area_m2, d.clipped_area_m2, d.whole_area_m2, d.state,
            d.version, regexp_replace(d.fingerprint, 'person:.*', 'person'),
            d.review_fk IS NOT NULL
        FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk
        WHERE d.property_fk = ANY(:ids) ORDER BY d.property_fk, d.id""",
    "measurement": """
        SELECT m.label, b.version, m.run_fk, m.segmenter, m.weights_sha256, m.area_m2,
            m.detection_count, m.coverage_fraction,
            m.source,
            m.current, array(SELECT d.label || ST_AsText(d.geom) || d.version
                             FROM lotline.measurement_detection c
                             JOIN lotline.detection d ON d.id = c.detection_fk
                             WHERE c.measurement_fk = m.id ORDER BY d.id)
        FROM lotline.measurement m JOIN lotline.boundary b ON b.id = m.boundary_fk
        WHERE m.property_fk = ANY(:ids) ORDER BY m.property_fk, m.label, m.id""",
}


def _rows(conn: Connection, ids: Sequence[int]) -> dict[str, list[Any]]:
    """All rows of these properties, in a fixed order and without their ids."""
    return {
        name: [tuple(map(str, row)) for row in conn.execute(text(query), {"ids": list(ids)})]
        for name, query in QUERIES.items()
    }
