"""Merges the outcomes of a chunk into the tables, next to earlier results and reviews.

The chunk is bulk-copied into staging tables and merged by a fixed number of statements, in the
caller's transaction (see `pipeline.store.results.writer`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import shapely
from sqlalchemy import Connection, text

from pipeline.errors import StoreError
from pipeline.store.bulk_copy import CHIPS, FINDINGS, LOTS, plan_by_index
from pipeline.store.results import measurements
from pipeline.store.results.decided_ground import leave_decided_ground
from pipeline.store.results.findings import Finding, collect_findings
from pipeline.store.results.measurements import MeasurementBasis, measure
from pipeline.store.results.outcomes import NotProcessed, Outcome, Processed, RunInfo, WriteResult
from pipeline.store.results.reconcile import Reconciliation, StoredDetection, reconcile

# Row locks: runs and reviewers write to a property one at a time. Excluded are properties whose
# lease was lost: it expired, or the property was changed. Properties that this run has completed
# are included until they are pending or leased again.
_LOCK_HELD = text("""
SELECT id, state, reason, detail, only_labels FROM lotline.property
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

# Boundary versions are append-only; an equal version has its row already.
_INSERT_BOUNDARIES = text("""
INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, origin, parcel_ids, version,
                              fetched_at)
SELECT property_fk, source, geom, area_m2, origin, parcel_ids, version, fetched_at
FROM staged_lot ORDER BY property_fk
ON CONFLICT (property_fk, version) DO NOTHING
""")

_LINK_BOUNDARIES = text("""
UPDATE staged_lot lot SET boundary_fk = boundary.id FROM lotline.boundary
WHERE boundary.property_fk = lot.property_fk AND boundary.version = lot.version
RETURNING lot.property_fk, lot.boundary_fk
""")

# Sorted, so that two batches that insert the same chips do not deadlock. What the registry or an
# earlier version said of the same pixels (a date, a path) may have been corrected since.
_INSERT_CHIPS = text("""
INSERT INTO lotline.chip AS known (sha256, sources, captured_on, crs, gsd_m, bands, bounds,
                                   chip_gsd_m)
SELECT sha256, sources, captured_on, crs, gsd_m, bands, bounds, chip_gsd_m
FROM staged_chip ORDER BY sha256
ON CONFLICT (sha256) DO UPDATE SET sources = EXCLUDED.sources,
    captured_on = EXCLUDED.captured_on, gsd_m = EXCLUDED.gsd_m, chip_gsd_m = EXCLUDED.chip_gsd_m
WHERE (known.sources, known.captured_on, known.gsd_m, known.chip_gsd_m)
    IS DISTINCT FROM (EXCLUDED.sources, EXCLUDED.captured_on, EXCLUDED.gsd_m, EXCLUDED.chip_gsd_m)
""")

# Geometry only of reviewed detections: others are compared by fingerprint. OFFSET 0 keeps the
# planner from reversing the join and reading an entire county for a few lots.
_STORED = text("""
SELECT lot.property_fk, known.*
FROM staged_lot lot CROSS JOIN LATERAL (
    SELECT d.id, d.label, d.state, d.fingerprint, d.boundary_fk,
        CASE WHEN d.review_fk IS NOT NULL THEN ST_AsBinary(d.geom) END AS reviewed
    FROM lotline.detection d
    WHERE d.property_fk = lot.property_fk AND d.state <> 'superseded'
    OFFSET 0) known
""")

_RETIRE_OTHER_BOUNDARIES = text("""
UPDATE lotline.measurement SET current = false WHERE id = ANY(ARRAY(
    SELECT old.id FROM staged_lot lot CROSS JOIN LATERAL (
        SELECT m.id FROM lotline.measurement m
        WHERE m.property_fk = lot.property_fk AND m.current AND m.boundary_fk <> lot.boundary_fk
        OFFSET 0) old))
""")

_SUPERSEDE = text("""
UPDATE lotline.detection SET state = 'superseded' WHERE id = ANY(CAST(:ids AS bigint[]))
""")

_UNSTAGE = text("DELETE FROM staged_finding WHERE finding_index = ANY(CAST(:indices AS int[]))")

_INSERT_DETECTIONS = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, run_fk, chip_sha256, segmenter,
    weights_sha256, label, prompt, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2,
    fingerprint)
SELECT property_fk, lot.boundary_fk, :run, lot.chip_sha256, :segmenter, :weights_sha256,
    found.label, found.prompt, found.score, found.relation, found.geom, found.area_m2,
    found.clipped_area_m2, found.whole_area_m2, found.fingerprint
FROM staged_finding found JOIN staged_lot lot USING (property_fk)
ORDER BY found.finding_index
""")

# Lookup method and location are those of the last lookup, even if the boundary is unchanged.
_COMPLETE = text("""
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
    """Write the outcomes of properties that `owner` holds; skip properties whose lease was lost.

    Idempotent: a run may write the same outcome again, after a lost COMMIT reply or when a task is
    repeated. An equal result changes nothing. An outcome without a result never replaces a written
    one; the stored state is returned instead.

    For a lot with imagery, this writes its boundary, detections, measurements and state. Findings
    on ground that people decided about are suppressed, or that ground is cut out of them (see
    `decided_ground`). Unreviewed detections of earlier runs are superseded, unless they are equal
    in every respect.

    If the boundary has a new version, unreviewed detections of all labels are superseded and the
    measurements of the old version end. Reviewed detections stay and are measured inside the new
    boundary.

    Of a property that waits for some labels only, the other labels stay as they are.

    `no_imagery` updates the boundary but leaves detections in the same boundary unchanged. The
    boundary's note is part of the property's detail.

    Returns:
        The written state by property; a property is missing if its lease was lost.

    Raises:
        StoreError: a property is in the chunk twice.
        DBAPIError, GeometryError, GEOSException: a lot is refused, and with it the chunk.
    """
    ids = [outcome.property_fk for outcome in outcomes]
    if len(set(ids)) < len(ids):
        raise StoreError("a property is in a chunk twice: write only its last outcome")
    rows = conn.execute(_LOCK_HELD, {"ids": ids, "owner": owner, "run": run.id}).all()
    stored = {row.id: WriteResult(row.state, row.reason, row.detail) for row in rows}
    only_labels = {row.id: frozenset(row.only_labels) for row in rows if row.only_labels}
    held = [outcome for outcome in outcomes if outcome.property_fk in stored]
    processed = [outcome for outcome in held if isinstance(outcome, Processed)]
    unprocessed = [outcome for outcome in held if isinstance(outcome, NotProcessed)]
    leased = [each for each in unprocessed if stored[each.property_fk].state == "leased"]
    written = {each.property_fk: stored[each.property_fk] for each in unprocessed}
    written |= _finish(conn, leased)
    return written | _merge(conn, run, processed, only_labels) if processed else written


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


def _merge(
    conn: Connection,
    run: RunInfo,
    lots: Sequence[Processed],
    only_labels: Mapping[int, AbstractSet[str]],
) -> dict[int, WriteResult]:
    lots = [_with_labels(lot, only_labels.get(lot.property_fk)) for lot in lots]
    imaged = [lot for lot in lots if lot.is_imaged]
    found = collect_findings(run, imaged)
    plan_by_index(conn)
    LOTS.copy_rows(conn, map(_lot_row, lots))
    CHIPS.copy_rows(conn, _chip_rows(imaged))
    FINDINGS.copy_rows(conn, _finding_rows(found, frozenset()))
    conn.execute(_INSERT_BOUNDARIES)
    conn.execute(_INSERT_CHIPS)
    boundary_of = {row.property_fk: row.boundary_fk for row in conn.execute(_LINK_BOUNDARIES)}

    labels = frozenset(run.labels)
    labels_of = {
        lot.property_fk: labels & only_labels.get(lot.property_fk, labels)
        if lot.is_imaged
        else frozenset[str]()
        for lot in lots
    }
    undecided = leave_decided_ground(conn, run, found, {lot.property_fk: lot for lot in imaged})
    findings, suppressed = undecided.findings, undecided.suppressed
    if undecided.cut:
        FINDINGS.copy_rows(conn, _finding_rows(findings, suppressed))
    stored = [StoredDetection(*row) for row in conn.execute(_STORED)]
    reconciled = reconcile(findings, suppressed, stored, boundary_of, labels_of)
    _write_detections(conn, run, reconciled, len(findings))

    live = [item for item in reconciled.live if item.label in labels_of[item.property_fk]]
    bases = {lot.property_fk: _basis(run, lot, boundary_of[lot.property_fk]) for lot in imaged}
    conn.execute(_RETIRE_OTHER_BOUNDARIES)
    ordered = {fk: [name for name in run.labels if name in labels_of[fk]] for fk in bases}
    measurements.replace(conn, bases, measure(bases, ordered, live))
    measurements.measure_reviewed(conn, bases, labels_of, reconciled.reviewed)

    # Of any label: what earlier runs found of labels that this one does not segment stays.
    measured = reconciled.kept | {item.property_fk for item in reconciled.live}
    conn.execute(_COMPLETE, {"run": run.id, "measured": list(measured)})
    return {
        lot.property_fk: _write_result(lot, reconciled, lot.property_fk in measured) for lot in lots
    }


def _with_labels(lot: Processed, only: AbstractSet[str] | None) -> Processed:
    """The lot with the detections of these labels only; None means all."""
    if only is None:
        return lot
    found = tuple(each for each in lot.result.detections if each.label in only)
    return replace(lot, result=replace(lot.result, detections=found))


def _write_detections(
    conn: Connection, run: RunInfo, reconciled: Reconciliation, finding_count: int
) -> None:
    if reconciled.superseded:
        conn.execute(_SUPERSEDE, {"ids": reconciled.superseded})
    not_new = set(range(finding_count)).difference(reconciled.new)
    if not_new:
        conn.execute(_UNSTAGE, {"indices": list(not_new)})
    provenance = {"run": run.id, "segmenter": run.segmenter, "weights_sha256": run.weights_sha256}
    conn.execute(_INSERT_DETECTIONS, provenance)


def _basis(run: RunInfo, lot: Processed, boundary_fk: int) -> MeasurementBasis:
    return MeasurementBasis(
        lot.property_fk,
        boundary_fk,
        run.id,
        lot.boundary.source,
        lot.boundary.geometry,
        lot.result.coverage_fraction,
        run.segmenter,
        run.weights_sha256,
    )


def _write_result(lot: Processed, reconciled: Reconciliation, is_measured: bool) -> WriteResult:
    if lot.is_imaged:
        state, reason = "done", "measured" if is_measured else "nothing_found"
    else:
        state, reason = "no_imagery", lot.result.reason
    fk = lot.property_fk
    counts = (
        reconciled.new_count[fk],
        reconciled.unchanged_count[fk],
        reconciled.superseded_count[fk],
        reconciled.suppressed_count[fk],
    )
    return WriteResult(state, reason, lot.detail, *counts)


def _lot_row(lot: Processed) -> tuple[object, ...]:
    boundary, result, located = lot.boundary, lot.result, lot.boundary.located
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
        None if located is None else located.method,
        None if located is None else located.longitude,
        None if located is None else located.latitude,
        None if located is None else located.confidence,
        None if located is None else located.matched or None,
        "done" if lot.is_imaged else "no_imagery",
        result.reason,
        lot.detail,
        None if result.chip is None else result.chip.sha256,
        # Clamped: rounding of a sum of parts can exceed 1.
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
            chip.chip_gsd_m,
        )


def _finding_rows(
    findings: Sequence[Finding], suppressed: AbstractSet[int]
) -> Iterator[tuple[object, ...]]:
    for index, finding in enumerate(findings):
        if index not in suppressed:
            yield _finding_row(index, finding)


def _finding_row(index: int, finding: Finding) -> tuple[object, ...]:
    detection = finding.detection
    return (
        index,
        finding.property_fk,
        detection.label,
        detection.prompt,
        detection.score,
        detection.relation,
        finding.wkb,
        detection.area_m2,
        detection.clipped_area_m2,
        detection.whole_area_m2,
        finding.fingerprint,
    )
