"""Writing what a run found on a lot, beside what people said of it: all of it, or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import shapely
from detection.results import Detection, LotResult
from parcels import Boundary
from parcels.measure import iou
from shapely import MultiPolygon
from sqlalchemy import Connection, Row, text

from pipeline.store.measurements import remeasure

# A finding that overlaps a reviewed detection by this is the same thing, seen again.
SAME_IOU = 0.5

BOUNDARY = text("""
-- Versions are only ever added: the same one again finds its row.
WITH added AS (
    INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, method, origin, parcel_ids,
                                  version, fetched_at)
    VALUES (:property, :source, ST_GeomFromWKB(:geom, 4326), :area_m2, :method, :origin,
            :parcel_ids, :version, :fetched_at)
    ON CONFLICT (property_fk, version) DO NOTHING
    RETURNING id
)
SELECT id FROM added
UNION ALL
SELECT id FROM lotline.boundary WHERE property_fk = :property AND version = :version
LIMIT 1
""")

CHIP = text("""
INSERT INTO lotline.chip (sha256, sources, captured_on, crs, gsd_m, bands, bounds)
VALUES (:sha256, :sources, :captured_on, :crs, :gsd_m, :bands, :bounds)
ON CONFLICT (sha256) DO NOTHING
""")

KNOWN = text("""
-- What is there already, with every label it ever had: a person who relabels a lawn as a tree
-- has also said that it is no lawn.
SELECT d.id, d.fingerprint, d.review_fk IS NOT NULL AS reviewed, ST_AsBinary(d.geom) AS geom,
       ARRAY(SELECT r.before ->> 'label' FROM lotline.review r WHERE r.detection_fk = d.id)
           || d.label AS labels
FROM lotline.detection d WHERE d.property_fk = :property AND d.state <> 'superseded'
FOR UPDATE OF d
""")

SUPERSEDE = text("UPDATE lotline.detection SET state = 'superseded' WHERE id = ANY (:ids)")

DETECTION = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, run_fk, chip_sha256, label, prompt,
    segmenter, weights_sha256, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2,
    fingerprint)
VALUES (:property, :boundary, :run, :chip, :label, :prompt, :segmenter, :weights_sha256, :score,
    :relation, ST_GeomFromWKB(:geom, 4326), :area_m2, :clipped_area_m2, :whole_area_m2,
    :fingerprint)
""")

CLOSE = text("""
UPDATE lotline.property SET
    state = :state, reason = :reason, detail = :detail, boundary_fk = :boundary,
    chip_sha256 = :chip, imaged_share = :imaged_share, run_fk = :run,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
WHERE id = :property
""")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What every detection of a run says of where it comes from; `labels` were asked for."""

    id: int
    segmenter: str
    weights_sha256: str | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a lot's findings.

    Attributes:
        new: written as proposed.
        kept: were there already, the same in every respect.
        superseded: earlier findings that nobody reviewed and that were not found again.
        suppressed: gave way to what a person had decided.
    """

    state: str
    reason: str
    new: int = 0
    kept: int = 0
    superseded: int = 0
    suppressed: int = 0


def write_lot(
    conn: Connection, run: RunInfo, property_fk: int, boundary: Boundary, result: LotResult
) -> Written:
    """Write a lot's boundary, detections, measurements and state; the caller's transaction holds.

    Findings are matched with what people reviewed on this property: same label and an
    intersection over union of at least `SAME_IOU` means that the person's word stands and the
    finding is not written. Writing the same result twice changes nothing.

    `result` is "detected" or "no_imagery"; the latter leaves earlier detections alone.
    """
    boundary_fk = _boundary(conn, property_fk, boundary)
    if result.chip is None or result.status == "no_imagery":
        written = Written("no_imagery", result.reason)
        _close(conn, run, property_fk, boundary_fk, result, written)
        return written
    conn.execute(CHIP, _lists(asdict(result.chip)))
    written = _detections(conn, run, property_fk, (boundary_fk, boundary.version), result)
    _close(conn, run, property_fk, boundary_fk, result, written)
    remeasure(conn, property_fk, run.labels, run.id)
    return written


def _detections(
    conn: Connection, run: RunInfo, property_fk: int, boundary: tuple[int, str], result: LotResult
) -> Written:
    boundary_fk, version = boundary
    assert result.chip is not None
    known = conn.execute(KNOWN, {"property": property_fk}).all()
    reviewed = [(row, shapely.from_wkb(row.geom)) for row in known if row.reviewed]
    unreviewed = {row.fingerprint: row for row in known if not row.reviewed}
    new: dict[str, dict[str, Any]] = {}
    kept: set[str] = set()
    suppressed = 0
    for found in result.detections:
        fingerprint = _fingerprint(run, version, result.chip.sha256, found)
        if fingerprint in unreviewed:
            kept.add(fingerprint)
        elif _reviewed_already(found, reviewed):
            suppressed += 1
        else:
            new[fingerprint] = {
                "property": property_fk,
                "boundary": boundary_fk,
                "run": run.id,
                "chip": result.chip.sha256,
                "segmenter": run.segmenter,
                "weights_sha256": run.weights_sha256,
                "fingerprint": fingerprint,
                **asdict(found),
                "geom": shapely.to_wkb(found.geometry),
            }
    gone = [
        row.id
        for fingerprint, row in unreviewed.items()
        if fingerprint not in kept and row.labels[-1] in run.labels
    ]
    if gone:
        conn.execute(SUPERSEDE, {"ids": gone})
    if new:
        conn.execute(DETECTION, list(new.values()))
    reason = "measured" if result.detections else "nothing_found"
    return Written("done", reason, len(new), len(kept), len(gone), suppressed)


def _reviewed_already(found: Detection, reviewed: list[tuple[Row[Any], MultiPolygon]]) -> bool:
    return any(
        found.label in row.labels and iou(found.geometry, geometry) >= SAME_IOU
        for row, geometry in reviewed
    )


def _fingerprint(run: RunInfo, version: str, chip_sha256: str, found: Detection) -> str:
    """SHA-256 of all that makes a finding what it is: the same look at the same lot has the same."""
    digest = hashlib.sha256()
    for part in (
        version,
        chip_sha256,
        run.segmenter,
        run.weights_sha256 or "",
        found.label,
        found.prompt,
    ):
        digest.update(part.encode() + b"\0")
    digest.update(shapely.to_wkb(found.geometry, byte_order=1))
    return digest.hexdigest()


def _boundary(conn: Connection, property_fk: int, boundary: Boundary) -> int:
    row = {
        "property": property_fk,
        "source": boundary.source,
        "geom": shapely.to_wkb(boundary.geometry),
        "area_m2": boundary.area_m2,
        "method": boundary.method,
        "origin": boundary.origin,
        "parcel_ids": list(boundary.parcel_ids),
        "version": boundary.version,
        "fetched_at": boundary.fetched_at,
    }
    return int(conn.execute(BOUNDARY, row).scalar_one())


def _close(
    conn: Connection,
    run: RunInfo,
    property_fk: int,
    boundary_fk: int,
    result: LotResult,
    written: Written,
) -> None:
    conn.execute(
        CLOSE,
        {
            "property": property_fk,
            "state": written.state,
            "reason": written.reason,
            "detail": result.detail,
            "boundary": boundary_fk,
            "chip": result.chip.sha256 if result.chip else None,
            "imaged_share": result.imaged_share,
            "run": run.id,
        },
    )


def _lists(row: dict[str, Any]) -> dict[str, Any]:
    """psycopg sends lists as arrays, and tuples as records."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in row.items()}
