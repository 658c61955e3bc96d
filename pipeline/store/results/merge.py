"""Writing what became of a chunk of properties, beside what people said of them.

The chunk is copied into temporary tables and merged from there by a handful of statements, however
many lots it holds. They are the caller's one transaction: `pipeline.store.results.writer` makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import shapely
from sqlalchemy import Connection, text

from pipeline.errors import StoreError
from pipeline.store.bulk_copy import CHIPS, FINDINGS, LOTS, plan_by_index
from pipeline.store.results import measurements
from pipeline.store.results.findings import Finding, collect_findings
from pipeline.store.results.measurements import MeasurementBasis, measure
from pipeline.store.results.outcomes import NotProcessed, Outcome, Processed, RunInfo, WriteResult
from pipeline.store.results.reconcile import Reconciliation, StoredDetection, reconcile
from pipeline.store.results.review_matches import review_matches

# What is kept of a property is written by one at a time: by runs and by people. A worker whose
# lease ran out, or whose property was changed under its hands, holds it no more. What this run
# finished already is still its own until somebody waits for it, or takes it, again.
_HOLD = text("""
SELECT id, state, reason, detail FROM lotline.property
WHERE id = ANY(CAST(:ids AS bigint[])) AND (
    (state = 'leased' AND lease_owner = :owner)
    OR (state NOT IN ('pending', 'leased') AND run_fk = :run))
ORDER BY id FOR NO KEY UPDATE
""")

_FINISH = text("""
UPDATE lotline.property p SET state = new.state, reason = new.reason, detail = new.detail,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[]), CAST(:reasons AS text[]),
        CAST(:details AS text[])) AS new (id, state, reason, detail)
WHERE p.id = new.id
""")

# Versions are only ever added; the same one again finds its row.
_BOUNDARIES = text("""
INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, origin, parcel_ids, version,
                              fetched_at)
SELECT property_fk, source, geom, area_m2, origin, parcel_ids, version, fetched_at
FROM staged_lot ORDER BY property_fk
ON CONFLICT (property_fk, version) DO NOTHING
""")

_FIND_BOUNDARIES = text("""
UPDATE staged_lot lot SET boundary_fk = boundary.id FROM lotline.boundary
WHERE boundary.property_fk = lot.property_fk AND boundary.version = lot.version
RETURNING lot.property_fk, lot.boundary_fk
""")

# Sorted, so that two batches that bring the same chips wait for each other and not in a circle.
_CHIPS = text("""
INSERT INTO lotline.chip (sha256, sources, captured_on, crs, gsd_m, bands, bounds)
SELECT sha256, sources, captured_on, crs, gsd_m, bands, bounds FROM staged_chip ORDER BY sha256
ON CONFLICT (sha256) DO NOTHING
""")

# Outlines only of what people reviewed: the others are told by their fingerprints. OFFSET 0 keeps
# the planner from turning this round and reading a whole county for a few lots.
_KNOWN = text("""
SELECT lot.property_fk, known.*
FROM staged_lot lot CROSS JOIN LATERAL (
    SELECT d.id, d.label, d.state, d.fingerprint, d.boundary_fk,
        CASE WHEN d.review_fk IS NOT NULL THEN ST_AsBinary(d.geom) END AS reviewed
    FROM lotline.detection d
    WHERE d.property_fk = lot.property_fk AND d.state <> 'superseded'
    OFFSET 0) known
""")

_LEAVE_OTHER_BOUNDARIES = text("""
UPDATE lotline.measurement SET current = false WHERE id = ANY(ARRAY(
    SELECT old.id FROM staged_lot lot CROSS JOIN LATERAL (
        SELECT m.id FROM lotline.measurement m
        WHERE m.property_fk = lot.property_fk AND m.current AND m.boundary_fk <> lot.boundary_fk
        OFFSET 0) old))
""")

_SUPERSEDE = text("""
UPDATE lotline.detection SET state = 'superseded' WHERE id = ANY(CAST(:ids AS bigint[]))
""")

_FORGET = text("DELETE FROM staged_finding WHERE place = ANY(CAST(:places AS int[]))")

_INSERT = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, run_fk, chip_sha256, segmenter,
    weights_sha256, label, prompt, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2,
    fingerprint)
SELECT property_fk, lot.boundary_fk, :run, lot.chip_sha256, :segmenter, :weights_sha256,
    found.label, found.prompt, found.score, found.relation, found.geom, found.area_m2,
    found.clipped_area_m2, found.whole_area_m2, found.fingerprint
FROM staged_finding found JOIN staged_lot lot USING (property_fk)
ORDER BY found.place
""")

# How it was found is of the last lookup: the same lot may have been found in another way before.
_CLOSE = text("""
UPDATE lotline.property p SET state = lot.state, detail = lot.detail,
    reason = CASE WHEN lot.state = 'no_imagery' THEN lot.reason
        WHEN p.id = ANY(CAST(:measured AS bigint[])) THEN 'measured' ELSE 'nothing_found' END,
    method = lot.method, located_by = lot.located_by, confidence = lot.confidence,
    located_point = ST_SetSRID(ST_MakePoint(lot.longitude, lot.latitude), 4326),
    matched_address = lot.matched_address, boundary_fk = lot.boundary_fk,
    chip_sha256 = lot.chip_sha256, coverage_fraction = lot.coverage_fraction, run_fk = :run,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
FROM staged_lot lot WHERE p.id = lot.property_fk
""")


def write_chunk(
    conn: Connection, run: RunInfo, outcomes: Sequence[Outcome], owner: str
) -> dict[int, WriteResult]:
    """Write what became of properties that `owner` holds; the others are left alone.

    What the same run has written already it may write again: the answer to its commit was lost,
    or a worker died and its work was done anew. A result is then merged with itself; what has no
    result never takes the place of what was written, and is told as that.

    Of a lot that was looked at, its boundary, detections, measurements and state are written.
    Findings that people have decided about (see `review_matches`) give way. Earlier
    findings that nobody reviewed are superseded, unless they are the same in every respect.
    Writing the same result twice changes nothing.

    Where the boundary is another version, unreviewed findings of all labels are superseded with
    the old one and its measurements end; what people reviewed stays, and is measured inside the
    new one.

    The boundary's note is said in the property's detail.

    `no_imagery` keeps the boundary and leaves what was found in it earlier alone.

    Returns:
        What was written, by property: one that is not there was not the owner's any more.

    Raises:
        StoreError: a property comes twice.
        DBAPIError, GeometryError, GEOSException: a lot is refused, and with it the chunk.
    """
    ids = [outcome.property_fk for outcome in outcomes]
    if len(set(ids)) < len(ids):
        raise StoreError("a property comes twice in a chunk: write its last outcome alone")
    rows = conn.execute(_HOLD, {"ids": ids, "owner": owner, "run": run.id})
    now = {row.id: WriteResult(row.state, row.reason, row.detail) for row in rows}
    ours = [outcome for outcome in outcomes if outcome.property_fk in now]
    lots = [outcome for outcome in ours if isinstance(outcome, Processed)]
    others = [outcome for outcome in ours if isinstance(outcome, NotProcessed)]
    waiting = [other for other in others if now[other.property_fk].state == "leased"]
    written = {other.property_fk: now[other.property_fk] for other in others}
    written |= _finish(conn, waiting)
    return written | _merge(conn, run, lots) if lots else written


def _finish(conn: Connection, outcomes: Sequence[NotProcessed]) -> dict[int, WriteResult]:
    if outcomes:
        values = {
            "ids": [outcome.property_fk for outcome in outcomes],
            "states": [outcome.state for outcome in outcomes],
            "reasons": [outcome.reason for outcome in outcomes],
            "details": [outcome.detail for outcome in outcomes],
        }
        conn.execute(_FINISH, values)
    return {
        outcome.property_fk: WriteResult(outcome.state, outcome.reason, outcome.detail)
        for outcome in outcomes
    }


def _merge(conn: Connection, run: RunInfo, lots: Sequence[Processed]) -> dict[int, WriteResult]:
    imaged = [lot for lot in lots if lot.is_imaged]
    findings = collect_findings(run, imaged)
    plan_by_index(conn)
    LOTS.copy_rows(conn, map(_lot_row, lots))
    CHIPS.copy_rows(conn, _chip_rows(imaged))
    FINDINGS.copy_rows(conn, map(_finding_row, range(len(findings)), findings))
    conn.execute(_BOUNDARIES)
    conn.execute(_CHIPS)
    boundary_of = {row.property_fk: row.boundary_fk for row in conn.execute(_FIND_BOUNDARIES)}

    labels = frozenset(run.labels)
    asked = {lot.property_fk: labels if lot.is_imaged else frozenset[str]() for lot in lots}
    suppressed = review_matches(conn, findings)
    known = [StoredDetection(*row) for row in conn.execute(_KNOWN)]
    found = reconcile(findings, suppressed, known, boundary_of, asked)
    _write_detections(conn, run, found, len(findings))

    live = [item for item in found.live if item.label in asked[item.property_fk]]
    bases = {lot.property_fk: _basis(run, lot, boundary_of[lot.property_fk]) for lot in imaged}
    conn.execute(_LEAVE_OTHER_BOUNDARIES)
    measurements.replace(conn, bases, measure(bases, run.labels, live))

    measured = {item.property_fk for item in live}
    conn.execute(_CLOSE, {"run": run.id, "measured": list(measured)})
    return {lot.property_fk: _written(lot, found, lot.property_fk in measured) for lot in lots}


def _write_detections(conn: Connection, run: RunInfo, found: Reconciliation, count: int) -> None:
    if found.superseded:
        conn.execute(_SUPERSEDE, {"ids": found.superseded})
    others = set(range(count)).difference(found.new)
    if others:
        conn.execute(_FORGET, {"places": list(others)})
    provenance = {"run": run.id, "segmenter": run.segmenter, "weights_sha256": run.weights_sha256}
    conn.execute(_INSERT, provenance)


def _basis(run: RunInfo, lot: Processed, boundary_fk: int) -> MeasurementBasis:
    boundary = lot.boundary
    share = lot.result.coverage_fraction
    return MeasurementBasis(
        lot.property_fk, boundary_fk, run.id, boundary.source, boundary.geometry, share
    )


def _written(lot: Processed, found: Reconciliation, is_measured: bool) -> WriteResult:
    if lot.is_imaged:
        state, reason = "done", "measured" if is_measured else "nothing_found"
    else:
        state, reason = "no_imagery", lot.result.reason
    fk = lot.property_fk
    counts = (
        found.new_count[fk],
        found.unchanged_count[fk],
        found.superseded_count[fk],
        found.suppressed_count[fk],
    )
    return WriteResult(state, reason, lot.detail, *counts)


def _lot_row(lot: Processed) -> tuple[object, ...]:
    boundary, result, at = lot.boundary, lot.result, lot.boundary.located
    return (
        lot.property_fk,
        boundary.source,
        shapely.to_wkb(boundary.geometry),
        boundary.area_m2,
        boundary.origin,
        list(boundary.parcel_ids),
        boundary.version,
        boundary.fetched_at,
        boundary.method,
        None if at is None else at.method,
        None if at is None else at.longitude,
        None if at is None else at.latitude,
        None if at is None else at.confidence,
        None if at is None else at.matched or None,
        "done" if lot.is_imaged else "no_imagery",
        result.reason,
        lot.detail,
        None if result.chip is None else result.chip.sha256,
        # A sum of overlapping pieces can pass the whole by a rounding.
        min(max(result.coverage_fraction, 0.0), 1.0),
    )


def _chip_rows(imaged: Sequence[Processed]) -> Iterator[tuple[object, ...]]:
    chips = {lot.result.chip.sha256: lot.result.chip for lot in imaged if lot.result.chip}
    for chip in chips.values():
        yield (
            chip.sha256,
            list(chip.sources),
            chip.captured_on,
            chip.crs,
            chip.gsd_m,
            list(chip.bands),
            list(chip.bounds),
        )


def _finding_row(place: int, found: Finding) -> tuple[object, ...]:
    detection = found.detection
    return (
        place,
        found.property_fk,
        detection.label,
        detection.prompt,
        detection.score,
        detection.relation,
        found.wkb,
        detection.area_m2,
        detection.clipped_area_m2,
        detection.whole_area_m2,
        found.fingerprint,
    )
