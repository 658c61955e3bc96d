"""Writing what a run found on a lot, beside what people said of it: all of it, or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from detection.results import ChipInfo, Detection, LotResult
from parcels.boundary import Boundary
from parcels.measure import iou
from pipeline.errors import StoreError
from pipeline.store.measurements import Basis, Live, replace

# A finding that overlaps a reviewed detection by this is the same thing, seen again.
SAME_IOU = 0.5

# What is kept of a property is written by one at a time: by runs and by people.
_LOCK = text("SELECT 1 FROM lotline.property WHERE id = :property FOR NO KEY UPDATE")

# Versions are only ever added; the same one again finds its row.
_BOUNDARY = text("""
WITH added AS (
    INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, origin, parcel_ids, version,
                                  fetched_at)
    VALUES (:property, :source, ST_GeomFromWKB(:geom, 4326), :area_m2, :origin,
            CAST(:parcel_ids AS text[]), :version, :fetched_at)
    ON CONFLICT (property_fk, version) DO NOTHING
    RETURNING id
)
SELECT id FROM added
UNION ALL
SELECT id FROM lotline.boundary WHERE property_fk = :property AND version = :version
""")

# Of the last lookup: the same lot may have been found in another way before.
_HOW_FOUND = text("""
UPDATE lotline.property SET method = :method, located_by = :located_by, confidence = :confidence,
    located_point = ST_SetSRID(ST_MakePoint(:longitude, :latitude), 4326),
    matched_address = :matched_address
WHERE id = :property
""")

_CHIP = text("""
INSERT INTO lotline.chip (sha256, sources, captured_on, crs, gsd_m, bands, bounds)
VALUES (:sha256, CAST(:sources AS text[]), :captured_on, :crs, :gsd_m, CAST(:bands AS text[]),
        CAST(:bounds AS float8[]))
ON CONFLICT (sha256) DO NOTHING
""")

_KNOWN = text("""
SELECT id, label, state, fingerprint, review_fk IS NOT NULL AS is_reviewed,
    ST_AsBinary(geom) AS geom, boundary_fk
FROM lotline.detection WHERE property_fk = :property AND state <> 'superseded'
""")

# How reviewed detections looked before a person changed them. Who turned a tree into a lawn has
# also said that it is no tree, and a redrawn outline stands for the one that was found.
_EARLIER_FORMS = text("""
SELECT r.before ->> 'label' AS label,
    ST_AsBinary(ST_SetSRID(CAST(r.before ->> 'geom' AS geometry), 4326)) AS geom
FROM lotline.detection d JOIN lotline.review r ON r.detection_fk = d.id
WHERE d.property_fk = :property AND r.action IN ('edit', 'relabel')
""")

_SUPERSEDE = text("UPDATE lotline.detection SET state = 'superseded' WHERE id = ANY(:ids)")

# What nobody reviewed goes with the boundary it was found in, of every label: a run asks for some,
# and the others' sums would still be of the old boundary. They are unknown until a run asks.
_LEAVE_OTHER_BOUNDARIES = text("""
WITH retired AS (
    UPDATE lotline.measurement SET current = false
    WHERE property_fk = :property AND current AND boundary_fk <> :boundary
)
UPDATE lotline.detection SET state = 'superseded'
WHERE property_fk = :property AND state = 'proposed' AND review_fk IS NULL
    AND boundary_fk <> :boundary
""")

_INSERT = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, run_fk, chip_sha256, segmenter,
    weights_sha256, label, prompt, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2,
    fingerprint)
SELECT :property, :boundary, :run, :chip, :segmenter, :weights_sha256, new.label, new.prompt,
    new.score, new.relation, ST_GeomFromWKB(new.geom, 4326), new.area_m2, new.clipped_area_m2,
    new.whole_area_m2, new.fingerprint
FROM unnest(CAST(:label AS text[]), CAST(:prompt AS text[]), CAST(:score AS float8[]),
        CAST(:relation AS text[]), CAST(:geom AS bytea[]), CAST(:area_m2 AS float8[]),
        CAST(:clipped_area_m2 AS float8[]), CAST(:whole_area_m2 AS float8[]),
        CAST(:fingerprint AS text[]))
    AS new (label, prompt, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2,
            fingerprint)
RETURNING id, fingerprint
""")

_CLOSE = text("""
UPDATE lotline.property SET state = :state, reason = :reason, detail = :detail,
    boundary_fk = :boundary, chip_sha256 = :chip, imaged_share = :imaged_share, run_fk = :run,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
WHERE id = :property
""")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What every detection of a run says of where it comes from.

    Attributes:
        labels: the names of the labels asked for; one of which nothing is found measures 0 m².
    """

    id: int
    segmenter: str
    weights_sha256: str | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a lot, and of its findings.

    Attributes:
        state, reason: of the property.
        new: written as proposed.
        kept: were there already, the same in every respect.
        superseded: earlier findings that nobody reviewed and that were not found again.
        suppressed: gave way to what a person had decided.
    """

    state: Literal["done", "no_imagery"]
    reason: str
    new: int = 0
    kept: int = 0
    superseded: int = 0
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a property: reviewed detections, and unreviewed ones by fingerprint.

    `reviewed_forms` holds the pieces of what has several too.
    """

    reviewed_live: list[Live]
    reviewed_forms: list[tuple[str, BaseGeometry]]
    unreviewed: dict[str, Live]


def write_lot(
    conn: Connection, run: RunInfo, property_fk: int, boundary: Boundary, result: LotResult
) -> Written:
    """Write a lot's boundary, detections, measurements and state, in one savepoint.

    Findings are matched with what people reviewed on this property: the same label and an
    intersection over union of at least `SAME_IOU`, with all of it or one of its pieces, mean that
    the person's word stands, and the finding is not written. Earlier findings that nobody reviewed
    are superseded, unless they are the same in every respect. Writing the same result twice changes
    nothing.

    Where the boundary is another version, unreviewed findings of all labels are superseded with
    the old one and its measurements end; what people reviewed stays, and is measured inside the
    new one.

    The boundary's note is said in the property's detail.

    `no_imagery` keeps the boundary and leaves what was found in it earlier alone.

    Raises:
        StoreError: no such property, or a result that is `unavailable` or `failed`, which is no
            result: `properties.finish` keeps those.
    """
    if result.status not in {"detected", "no_imagery"}:
        raise StoreError(
            f"a lot that is {result.status} has no result to write: finish its property instead"
        )
    said = "; ".join(filter(None, (boundary.note, result.detail)))
    result = dataclasses.replace(result, detail=said)
    with conn.begin_nested():
        if conn.execute(_LOCK, {"property": property_fk}).one_or_none() is None:
            raise StoreError(f"there is no property {property_fk}: load it before its result")
        boundary_fk = _write_boundary(conn, property_fk, boundary)
        _write_how_found(conn, property_fk, boundary)
        place = {"property": property_fk, "boundary": boundary_fk}
        left = conn.execute(_LEAVE_OTHER_BOUNDARIES, place).rowcount
        if result.status == "no_imagery" or result.chip is None:
            written = Written("no_imagery", result.reason, superseded=left)
            _close(conn, run, property_fk, boundary_fk, result, written)
            return written
        _write_chip(conn, result.chip)
        basis = Basis(
            property_fk,
            boundary_fk,
            run.id,
            boundary.source,
            boundary.geometry,
            result.imaged_share,
        )
        written, live = _reconcile(conn, run, basis, boundary, result.chip, result.detections)
        written = dataclasses.replace(written, superseded=written.superseded + left)
        replace(conn, basis, run.labels, [found for found in live if found.label in run.labels])
        _close(conn, run, property_fk, boundary_fk, result, written)
        return written


def _reconcile(
    conn: Connection,
    run: RunInfo,
    basis: Basis,
    boundary: Boundary,
    chip: ChipInfo,
    findings: Sequence[Detection],
) -> tuple[Written, list[Live]]:
    """Write the findings beside what is there; and all that is live on the property then."""
    known = _read_known(conn, basis.property_fk)
    version = boundary.version
    kept: dict[str, Live] = {}
    new: dict[str, Detection] = {}
    suppressed = 0
    for finding in findings:
        fingerprint = _fingerprint(run, version, chip.sha256, finding)
        if _is_decided(finding, known.reviewed_forms):
            suppressed += 1
        elif fingerprint in known.unreviewed:
            kept[fingerprint] = known.unreviewed[fingerprint]
        else:
            new[fingerprint] = finding
    # A run says nothing of labels that it was not asked for.
    others = [live for live in known.unreviewed.values() if live.label not in run.labels]
    gone = [
        live.id
        for fingerprint, live in known.unreviewed.items()
        if fingerprint not in kept and live.label in run.labels
    ]
    if gone:
        conn.execute(_SUPERSEDE, {"ids": gone})
    inserted = _insert(conn, run, basis, chip, new) if new else []
    live = [*known.reviewed_live, *others, *kept.values(), *inserted]
    is_empty = not any(found.label in run.labels for found in live)
    written = Written(
        "done",
        "nothing_found" if is_empty else "measured",
        len(new),
        len(kept),
        len(gone),
        suppressed,
    )
    return written, live


def _read_known(conn: Connection, property_fk: int) -> _Known:
    known = _Known([], [], {})
    for row in conn.execute(_KNOWN, {"property": property_fk}):
        live = Live(row.id, row.label, shapely.from_wkb(row.geom), row.boundary_fk)
        if not row.is_reviewed:
            known.unreviewed[row.fingerprint] = live
            continue
        known.reviewed_forms.extend((live.label, form) for form in _forms(live.geometry))
        if row.state != "rejected":
            known.reviewed_live.append(live)
    if known.reviewed_forms:
        for row in conn.execute(_EARLIER_FORMS, {"property": property_fk}):
            geometry = shapely.from_wkb(row.geom)
            known.reviewed_forms.extend((row.label, form) for form in _forms(geometry))
    return known


def _forms(geometry: BaseGeometry) -> list[BaseGeometry]:
    """An outline, and each of its pieces: runs find a lawn before and behind a house as two."""
    pieces = list(shapely.get_parts(geometry))
    return [geometry, *pieces] if len(pieces) > 1 else [geometry]


def _is_decided(finding: Detection, reviewed: Sequence[tuple[str, BaseGeometry]]) -> bool:
    return any(
        finding.label == label
        and finding.geometry.intersects(geometry)
        and iou(finding.geometry, geometry) >= SAME_IOU
        for label, geometry in reviewed
    )


def _fingerprint(run: RunInfo, version: str, chip_sha256: str, finding: Detection) -> str:
    """SHA-256 of all that makes a finding what it is: the same look at a lot finds the same."""
    asked = (run.segmenter, run.weights_sha256 or "", finding.label, finding.prompt)
    digest = hashlib.sha256(repr((version, chip_sha256, *asked)).encode())
    digest.update(shapely.to_wkb(finding.geometry, byte_order=1))
    return digest.hexdigest()


def _insert(
    conn: Connection, run: RunInfo, basis: Basis, chip: ChipInfo, new: dict[str, Detection]
) -> list[Live]:
    findings = list(new.values())
    rows = conn.execute(
        _INSERT,
        {
            "property": basis.property_fk,
            "boundary": basis.boundary_fk,
            "run": run.id,
            "chip": chip.sha256,
            "segmenter": run.segmenter,
            "weights_sha256": run.weights_sha256,
            "label": [finding.label for finding in findings],
            "prompt": [finding.prompt for finding in findings],
            "score": [finding.score for finding in findings],
            "relation": [finding.relation for finding in findings],
            "geom": [shapely.to_wkb(finding.geometry) for finding in findings],
            "area_m2": [finding.area_m2 for finding in findings],
            "clipped_area_m2": [finding.clipped_area_m2 for finding in findings],
            "whole_area_m2": [finding.whole_area_m2 for finding in findings],
            "fingerprint": list(new),
        },
    )
    return [
        Live(
            row.id,
            new[row.fingerprint].label,
            new[row.fingerprint].geometry,
            basis.boundary_fk,
        )
        for row in rows
    ]


def _write_boundary(conn: Connection, property_fk: int, boundary: Boundary) -> int:
    values = {
        "property": property_fk,
        "source": boundary.source,
        "geom": shapely.to_wkb(boundary.geometry),
        "area_m2": boundary.area_m2,
        "origin": boundary.origin,
        "parcel_ids": list(boundary.parcel_ids),
        "version": boundary.version,
        "fetched_at": boundary.fetched_at,
    }
    return int(conn.execute(_BOUNDARY, values).scalar_one())


def _write_how_found(conn: Connection, property_fk: int, boundary: Boundary) -> None:
    located = boundary.located
    values = {
        "property": property_fk,
        "method": boundary.method,
        "located_by": None if located is None else located.method,
        "confidence": None if located is None else located.confidence,
        "longitude": None if located is None else located.longitude,
        "latitude": None if located is None else located.latitude,
        "matched_address": None if located is None else located.matched or None,
    }
    conn.execute(_HOW_FOUND, values)


def _write_chip(conn: Connection, chip: ChipInfo) -> None:
    values = {
        "sha256": chip.sha256,
        "sources": list(chip.sources),
        "captured_on": chip.captured_on,
        "crs": chip.crs,
        "gsd_m": chip.gsd_m,
        "bands": list(chip.bands),
        "bounds": list(chip.bounds),
    }
    conn.execute(_CHIP, values)


def _close(
    conn: Connection,
    run: RunInfo,
    property_fk: int,
    boundary_fk: int,
    result: LotResult,
    written: Written,
) -> None:
    values = {
        "property": property_fk,
        "state": written.state,
        "reason": written.reason,
        "detail": result.detail,
        "boundary": boundary_fk,
        "chip": None if result.chip is None else result.chip.sha256,
        # A sum of overlapping pieces can pass the whole by a rounding.
        "imaged_share": min(max(result.imaged_share, 0.0), 1.0),
        "run": run.id,
    }
    conn.execute(_CLOSE, values)
