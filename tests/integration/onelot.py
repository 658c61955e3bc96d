"""A simple reference writer: one lot at a time, one statement for each row.

Tests compare the chunk writer with it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from detection.results import ChipInfo, Detection, LotResult
from parcels.boundary import Boundary
from parcels.errors import GeometryError
from parcels.measure import area_m2, iou, polygonal, without_new_slivers
from pipeline.store.results.outcomes import RunInfo, WriteResult

REVIEW_MATCH_IOU = 0.5
DECIDED_SHARE = 0.5
MIN_PART_M2 = 0.5
_MIN_OVERLAP_M2 = 0.01

# Runs and reviewers write to a property one at a time.
_LOCK = text("SELECT 1 FROM lotline.property WHERE id = :property FOR NO KEY UPDATE")

# Boundary versions are append-only; an equal version has its row already.
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

# Lookup method and location are those of the last lookup.
_SET_LOOKUP = text("""
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

_STORED = text("""
SELECT id, label, state, fingerprint, review_fk IS NOT NULL AS is_reviewed,
    ST_AsBinary(geom) AS geom, boundary_fk
FROM lotline.detection WHERE property_fk = :property AND state <> 'superseded'
""")

# Reviewed detections before each edit: a tree that was relabelled as a lawn is not a tree, and an
# edited outline replaces the one that was found.
_EARLIER_FORMS = text("""
SELECT r.before ->> 'label' AS label,
    ST_AsBinary(ST_SetSRID(CAST(r.before ->> 'geom' AS geometry), 4326)) AS geom
FROM lotline.detection d JOIN lotline.review r ON r.detection_fk = d.id
WHERE d.property_fk = :property AND r.action IN ('edit', 'relabel')
""")

# All forms in the county: what was rejected, edited away or relabelled away does not stand.
_COUNTY_FORMS = text("""
SELECT d.property_fk, d.label, d.state <> 'rejected' AS stands, d.id, ST_AsBinary(d.geom) AS geom
FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
WHERE d.review_fk IS NOT NULL
    AND p.county = (SELECT county FROM lotline.property WHERE id = :property)
UNION ALL
SELECT d.property_fk, r.before ->> 'label', false, d.id,
    ST_AsBinary(ST_SetSRID(CAST(r.before ->> 'geom' AS geometry), 4326))
FROM lotline.review r JOIN lotline.detection d ON d.id = r.detection_fk
JOIN lotline.property p ON p.id = d.property_fk
WHERE r.action IN ('edit', 'relabel')
    AND p.county = (SELECT county FROM lotline.property WHERE id = :property)
""")

_SUPERSEDE = text("UPDATE lotline.detection SET state = 'superseded' WHERE id = ANY(:ids)")

# A new boundary supersedes unreviewed detections of every label: otherwise the areas of labels that
# this run does not segment would still be those of the old boundary.
_RETIRE_OTHER_BOUNDARIES = text("""
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

_COMPLETE = text("""
UPDATE lotline.property SET state = :state, reason = :reason, detail = :detail,
    boundary_fk = :boundary, chip_sha256 = :chip, coverage_fraction = :coverage_fraction,
    run_fk = :run,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
WHERE id = :property
""")


_CURRENT = text("""
SELECT m.id, m.label, m.area_m2, m.boundary_fk, m.coverage_fraction, m.segmenter,
    m.weights_sha256,
    array(SELECT d.detection_fk FROM lotline.measurement_detection d
          WHERE d.measurement_fk = m.id ORDER BY 1) AS detections
FROM lotline.measurement m
WHERE m.property_fk = :property AND m.current AND m.label = ANY(:labels)
""")

_RETIRE = text("UPDATE lotline.measurement SET current = false WHERE id = ANY(:ids)")

# One statement for the measurements and the detections that they count.
_INSERT_MEASUREMENTS = text("""
WITH written AS (
    INSERT INTO lotline.measurement
        (property_fk, boundary_fk, run_fk, label, area_m2, detection_count,
         coverage_fraction, source, segmenter, weights_sha256)
    SELECT :property, :boundary, :run, label, area_m2, detection_count, :coverage_fraction, :source,
        :segmenter, :weights_sha256
    FROM unnest(CAST(:labels AS text[]), CAST(:areas_m2 AS float8[]), CAST(:counts AS int[]))
        AS new (label, area_m2, detection_count)
    RETURNING id, label
)
INSERT INTO lotline.measurement_detection (measurement_fk, detection_fk, property_fk)
SELECT written.id, counted.id, :property
FROM unnest(CAST(:detections AS bigint[]), CAST(:detection_labels AS text[]))
    AS counted (id, label)
JOIN written USING (label)
""")


@dataclass(frozen=True, slots=True)
class Live:
    """A live detection: its id, label, EPSG:4326 geometry, and the boundary it was found in."""

    id: int
    label: str
    geometry: MultiPolygon
    boundary_fk: int


@dataclass(frozen=True, slots=True)
class Basis:
    """What a property's measurements depend on, besides its detections.

    Attributes:
        source: of the boundary, `lot` or `buffer_30m`.
        geometry: of the boundary, in EPSG:4326.
        coverage_fraction: share of the boundary's area that has imagery, 0..1.
    """

    property_fk: int
    boundary_fk: int
    run_fk: int | None
    source: str
    geometry: MultiPolygon
    coverage_fraction: float
    segmenter: str
    weights_sha256: str | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored detections of a property: reviewed ones, and unreviewed ones by fingerprint."""

    reviewed_live: list[Live]
    reviewed_forms: list[tuple[str, BaseGeometry]]
    unreviewed: dict[str, Live]


def write_lot(
    conn: Connection, run: RunInfo, property_fk: int, boundary: Boundary, result: LotResult
) -> WriteResult:
    """Write a lot's boundary, detections, measurements and state, in one savepoint."""
    detail = "; ".join(filter(None, (boundary.note, result.detail)))
    result = dataclasses.replace(result, detail=detail)
    with conn.begin_nested():
        conn.execute(_LOCK, {"property": property_fk})
        boundary_fk = _write_boundary(conn, property_fk, boundary)
        _write_lookup(conn, property_fk, boundary)
        keys = {"property": property_fk, "boundary": boundary_fk}
        retired = conn.execute(_RETIRE_OTHER_BOUNDARIES, keys).rowcount
        if result.status == "no_imagery" or result.chip is None:
            written = WriteResult("no_imagery", result.reason, detail, superseded=retired)
            _complete(conn, run, property_fk, boundary_fk, result, written)
            return written
        _write_chip(conn, result.chip)
        basis = Basis(
            property_fk,
            boundary_fk,
            run.id,
            boundary.source,
            boundary.geometry,
            result.coverage_fraction,
            run.segmenter,
            run.weights_sha256,
        )
        written, live = _reconcile(conn, run, basis, boundary, result.chip, result.detections)
        superseded = written.superseded + retired
        written = dataclasses.replace(written, detail=detail, superseded=superseded)
        _replace(conn, basis, run.labels, [found for found in live if found.label in run.labels])
        _measure_reviewed(conn, run, basis)
        _complete(conn, run, property_fk, boundary_fk, result, written)
        return written


def _measure_reviewed(conn: Connection, run: RunInfo, basis: Basis) -> None:
    """Measure as a person's what people let stand of labels that the run did not have."""
    rows = conn.execute(_STORED, {"property": basis.property_fk}).all()
    others = {row.label for row in rows if row.is_reviewed and row.state != "rejected"}
    by_person = dataclasses.replace(basis, segmenter="person", weights_sha256=None)
    for label in sorted(others - set(run.labels)):
        where = {"property": basis.property_fk, "labels": [label]}
        live = [
            Live(row.id, label, shapely.from_wkb(row.geom), row.boundary_fk)
            for row in rows
            if row.label == label and row.is_reviewed and row.state != "rejected"
        ]
        is_inside = any(_inside(each, basis) is not None for each in live)
        if is_inside and not conn.execute(_CURRENT, where).all():
            _replace(conn, by_person, [label], live)


def _reconcile(
    conn: Connection,
    run: RunInfo,
    basis: Basis,
    boundary: Boundary,
    chip: ChipInfo,
    findings: Sequence[Detection],
) -> tuple[WriteResult, list[Live]]:
    """Write the new findings; returns the result and all live detections of the property."""
    stored = _read_stored(conn, basis.property_fk)
    version = boundary.version
    unchanged: dict[str, Live] = {}
    new: dict[str, Detection] = {}
    suppressed = 0
    county_forms = conn.execute(_COUNTY_FORMS, {"property": basis.property_fk}).all()
    # The finding that each written outline is of: two that overlap may leave the same one.
    origins = {
        each: each for each in (_fingerprint(run, version, chip.sha256, f) for f in findings)
    }
    for finding in findings:
        found = _fingerprint(run, version, chip.sha256, finding)
        left = (
            None
            if _matches_review(finding, stored.reviewed_forms)
            else _undecided(finding, basis.property_fk, county_forms, chip.gsd_m)
        )
        fingerprint = None if left is None else _fingerprint(run, version, chip.sha256, left)
        if left is None or origins.setdefault(str(fingerprint), found) != found:
            suppressed += 1
        elif fingerprint in stored.unreviewed:
            unchanged[fingerprint] = stored.unreviewed[fingerprint]
        else:
            new[str(fingerprint)] = left
    # A run does not change labels that it did not request.
    others = [live for live in stored.unreviewed.values() if live.label not in run.labels]
    superseded = [
        live.id
        for fingerprint, live in stored.unreviewed.items()
        if fingerprint not in unchanged and live.label in run.labels
    ]
    if superseded:
        conn.execute(_SUPERSEDE, {"ids": superseded})
    inserted = _insert(conn, run, basis, chip, new) if new else []
    live = [*stored.reviewed_live, *others, *unchanged.values(), *inserted]
    is_empty = not live
    written = WriteResult(
        "done",
        "nothing_found" if is_empty else "measured",
        "",
        len(new),
        len(unchanged),
        len(superseded),
        suppressed,
    )
    return written, live


def _read_stored(conn: Connection, property_fk: int) -> _Stored:
    stored = _Stored([], [], {})
    for row in conn.execute(_STORED, {"property": property_fk}):
        live = Live(row.id, row.label, shapely.from_wkb(row.geom), row.boundary_fk)
        if not row.is_reviewed:
            stored.unreviewed[row.fingerprint] = live
            continue
        stored.reviewed_forms.extend((live.label, form) for form in _forms(live.geometry))
        if row.state != "rejected":
            stored.reviewed_live.append(live)
    if stored.reviewed_forms:
        for row in conn.execute(_EARLIER_FORMS, {"property": property_fk}):
            geometry = shapely.from_wkb(row.geom)
            stored.reviewed_forms.extend((row.label, form) for form in _forms(geometry))
    return stored


def _forms(geometry: BaseGeometry) -> list[BaseGeometry]:
    """An outline and each of its polygons: runs find a front and a back lawn as two."""
    polygons = list(shapely.get_parts(geometry))
    return [geometry, *polygons] if len(polygons) > 1 else [geometry]


def _matches_review(finding: Detection, reviewed: Sequence[tuple[str, BaseGeometry]]) -> bool:
    return any(
        finding.label == label
        and finding.geometry.intersects(geometry)
        and iou(finding.geometry, geometry) >= REVIEW_MATCH_IOU
        for label, geometry in reviewed
    )


def _undecided(
    finding: Detection, property_fk: int, county_forms: Sequence[Any], gsd_m: float
) -> Detection | None:
    """The finding without the ground that people decided about; None if that leaves no object."""
    groups: dict[tuple[bool, bool], dict[bytes, int]] = {}
    for form in county_forms:
        geometry = shapely.from_wkb(form.geom)
        if form.label == finding.label and shapely.box(*geometry.bounds).intersects(
            shapely.box(*finding.geometry.bounds)
        ):
            group = groups.setdefault((form.property_fk == property_fk, form.stands), {})
            group[form.geom] = min(form.id, group.get(form.geom, form.id))
    ordered = {
        key: [shapely.from_wkb(wkb) for wkb in sorted(group, key=lambda each: group[each])]
        for key, group in groups.items()
    }
    denied = shapely.union_all(ordered.get((False, False), []))
    denied = denied.difference(shapely.union_all(ordered.get((False, True), [])))
    own = [*ordered.get((True, False), []), *ordered.get((True, True), [])]
    decided = shapely.union_all([*own, denied])
    decided_m2 = area_m2(finding.geometry.intersection(decided))
    if decided_m2 >= DECIDED_SHARE * finding.area_m2:
        return None
    if decided_m2 < gsd_m**2:
        return finding
    rest = polygonal(finding.geometry.difference(decided))
    rest = polygonal(without_new_slivers(rest, finding.geometry, 2 * gsd_m))
    parts = [part for part in rest.geoms if area_m2(part) >= MIN_PART_M2]
    if not parts:
        return None
    left = MultiPolygon(parts)
    left_m2 = area_m2(left)
    return dataclasses.replace(finding, geometry=left, area_m2=left_m2, clipped_area_m2=left_m2)


def _fingerprint(run: RunInfo, version: str, chip_sha256: str, finding: Detection) -> str:
    """SHA-256 of a finding and its provenance: the same inference has the same fingerprints."""
    provenance = (run.segmenter, run.weights_sha256 or "", finding.label, finding.prompt)
    digest = hashlib.sha256(repr((version, chip_sha256, *provenance)).encode())
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


def _write_lookup(conn: Connection, property_fk: int, boundary: Boundary) -> None:
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
    conn.execute(_SET_LOOKUP, values)


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


def _complete(
    conn: Connection,
    run: RunInfo,
    property_fk: int,
    boundary_fk: int,
    result: LotResult,
    written: WriteResult,
) -> None:
    values = {
        "property": property_fk,
        "state": written.state,
        "reason": written.reason,
        "detail": result.detail,
        "boundary": boundary_fk,
        "chip": None if result.chip is None else result.chip.sha256,
        # Clamped: rounding of a sum of parts can exceed 1.
        "coverage_fraction": min(max(result.coverage_fraction, 0.0), 1.0),
        "run": run.id,
    }
    conn.execute(_COMPLETE, values)


def _replace(
    conn: Connection, basis: Basis, labels: Sequence[str], live: Iterable[Live]
) -> dict[str, float]:
    """Measure labels of a property from its live detections; returns label -> m².

    `live` are all live detections of these labels, including those of other boundary versions,
    which count inside the current one. An equal current measurement stays; others become history.
    """
    by_label: dict[str, list[Live]] = {label: [] for label in labels}
    for detection in live:
        if (counted_part := _inside(detection, basis)) is not None:
            by_label[detection.label].append(counted_part)
    areas_m2 = {label: union_area_m2(found) for label, found in by_label.items()}

    rows = conn.execute(_CURRENT, {"property": basis.property_fk, "labels": list(by_label)}).all()
    stored = {
        row.label: (
            row.area_m2,
            row.boundary_fk,
            row.coverage_fraction,
            row.segmenter,
            row.weights_sha256,
            row.detections,
        )
        for row in rows
    }
    new = [
        label
        for label, found in by_label.items()
        if stored.get(label)
        != (
            areas_m2[label],
            basis.boundary_fk,
            basis.coverage_fraction,
            basis.segmenter,
            basis.weights_sha256,
            sorted(detection.id for detection in found),
        )
    ]
    retired = [row.id for row in rows if row.label in new]
    if retired:
        conn.execute(_RETIRE, {"ids": retired})
    if new:
        counted = [detection for label in new for detection in by_label[label]]
        conn.execute(
            _INSERT_MEASUREMENTS,
            {
                "property": basis.property_fk,
                "boundary": basis.boundary_fk,
                "run": basis.run_fk,
                "coverage_fraction": basis.coverage_fraction,
                "source": basis.source,
                "segmenter": basis.segmenter,
                "weights_sha256": basis.weights_sha256,
                "labels": new,
                "areas_m2": [areas_m2[label] for label in new],
                "counts": [len(by_label[label]) for label in new],
                "detections": [detection.id for detection in counted],
                "detection_labels": [detection.label for detection in counted],
            },
        )
    return areas_m2


def _inside(detection: Live, basis: Basis) -> Live | None:
    """The part of a live detection that counts in the current boundary; None if none does.

    A detection of this boundary counts completely: it was clipped, or a person drew it so.
    """
    if detection.boundary_fk == basis.boundary_fk:
        return detection
    try:
        part = polygonal(shapely.intersection(detection.geometry, basis.geometry))
    except GeometryError:  # disjoint or only touching
        return None
    if area_m2(part) < _MIN_OVERLAP_M2:
        return None
    return Live(detection.id, detection.label, part, basis.boundary_fk)


def union_area_m2(detections: Sequence[Live]) -> float:
    """The area of the union of detections: overlaps count once."""
    if not detections:
        return 0.0
    if len(detections) == 1:
        return area_m2(detections[0].geometry)
    # A fixed order: equal detections give equal areas to the last bit.
    ordered = sorted(detections, key=lambda detection: detection.id)
    return area_m2(shapely.union_all([detection.geometry for detection in ordered]))
