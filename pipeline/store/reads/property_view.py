"""A property as a reviewer sees it: boundary, imagery, detections with full geometry, areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from detection.labels import contained_labels
from pipeline.errors import NotStored
from pipeline.store.reads.county_status import LABEL_CONTAINS
from pipeline.store.reviews.events import ReviewAction
from pipeline.store.reviews.full_reviews import HOLDS, FullReview, full_review

_PROPERTY = text("""
SELECT p.id, p.county, p.property_id, p.state, p.reason, p.detail, p.address, p.parcel_id,
    p.coverage_fraction, b.source, b.area_m2, b.parcel_ids, ST_AsBinary(b.geom) AS boundary,
    c.captured_on, c.gsd_m, c.chip_gsd_m, c.sources,
    array(SELECT DISTINCT m.segmenter FROM lotline.measurement m
        WHERE m.property_fk = p.id AND m.current ORDER BY 1) AS segmenters
FROM lotline.property p
LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN lotline.chip c ON c.sha256 = p.chip_sha256
WHERE p.id = :id AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
""")

# Rejected ones are shown too: only a person brings them back.
_DETECTIONS = text("""
SELECT d.id, d.label, d.state, d.score, d.version, d.segmenter, d.relation,
    d.run_fk AS run, d.area_m2, d.clipped_area_m2, d.review_fk IS NOT NULL AS is_reviewed,
    d.review_fk AS review_id, r.reviewer, r.action, r.created_at AS reviewed_at,
    ST_AsBinary(d.geom) AS geom
FROM lotline.detection d LEFT JOIN lotline.review r ON r.id = d.review_fk
WHERE d.property_fk = :id AND d.state <> 'superseded'
ORDER BY d.label, d.id
""")

_MEASURED = text("""
SELECT label, area_m2, detection_count FROM lotline.measurement
WHERE property_fk = :id AND current ORDER BY label
""")

_HISTORY = text("""
SELECT r.id, r.action, r.reviewer, r.note, r.created_at, r.before, r.after, r.undoes,
    (SELECT u.id FROM lotline.review u WHERE u.undoes = r.id) AS undone_by,
    ST_AsBinary(r.geom) AS geom, ST_AsBinary(CAST(r.before ->> 'geom' AS geometry)) AS geom_before
FROM lotline.review r JOIN lotline.detection d ON d.id = r.detection_fk
JOIN lotline.property p ON p.id = d.property_fk
WHERE r.detection_fk = :id AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
ORDER BY r.id
""")

_PROPERTY_OF_DETECTION = text("""
SELECT p.id FROM lotline.property p JOIN lotline.detection d ON d.property_fk = p.id
WHERE d.id = :id AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
""")

_COUNTIES = text(f"""
WITH marked AS (
    SELECT p.county, count(*) AS n
    FROM (SELECT DISTINCT ON (property_fk) * FROM lotline.full_review
        ORDER BY property_fk, id DESC) f
    JOIN lotline.property p ON p.id = f.property_fk
    WHERE {HOLDS} GROUP BY p.county
)
SELECT p.county, count(*) AS properties, count(*) FILTER (WHERE p.state = 'done') AS done,
    coalesce(max(marked.n), 0) AS fully_reviewed
FROM lotline.property p LEFT JOIN marked ON marked.county = p.county
WHERE CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties)
GROUP BY p.county ORDER BY p.county
""")  # noqa: S608

_HAS_COUNTY = text("""
SELECT EXISTS (SELECT FROM lotline.property WHERE county = :id)
    AND (CAST(:counties AS text[]) IS NULL OR :id = ANY(:counties))
""")


@dataclass(frozen=True, slots=True)
class DetectionView:
    """A detection that is not superseded; areas in m², geometry in EPSG:4326.

    Attributes:
        run: the id of the run that found it; None for what a person drew.
        review_id, action, reviewer, reviewed_at: of the newest review that was not undone.
    """

    id: int
    label: str
    state: str
    score: float
    version: int
    segmenter: str
    run: int | None
    area_m2: float
    clipped_area_m2: float
    is_reviewed: bool
    review_id: int | None
    action: ReviewAction | None
    reviewer: str | None
    reviewed_at: datetime | None
    geometry: BaseGeometry


@dataclass(frozen=True, slots=True)
class PropertyView:
    """A property and what was found on it.

    Attributes:
        boundary: of today, in EPSG:4326; None if none is known.
        source: of the boundary: "lot" or "buffer_30m".
        captured_on: of the imagery that was last segmented, ISO 8601.
        areas_m2: the measured area by label.
        segmenters: what measured them, with versions; "person" where only people drew.
        fully_reviewed: the mark that every object is decided, while it holds.
        label_contains: the labels that are part of a label, and not to be added to it.
    """

    key: int
    county: str
    property_id: str
    state: str
    reason: str
    detail: str
    address: str | None
    parcel_ids: tuple[str, ...]
    source: str | None
    boundary: BaseGeometry | None
    boundary_area_m2: float | None
    captured_on: str | None
    gsd_m: float | None
    imagery_files: tuple[str, ...]
    coverage_fraction: float | None
    areas_m2: dict[str, float]
    segmenters: tuple[str, ...]
    fully_reviewed: FullReview | None
    label_contains: Mapping[str, Sequence[str]]
    detections: tuple[DetectionView, ...]


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """An event in a detection's history.

    Attributes:
        geometry: the outline that it set, if any.
        geometry_before: the outline that it replaced, where it set one.
        undoes, undone_by: the event that it takes back, and the one that took it back.
    """

    id: int
    action: str
    reviewer: str
    note: str
    created_at: datetime
    before: dict[str, Any]
    after: dict[str, Any]
    geometry: BaseGeometry | None
    geometry_before: BaseGeometry | None
    undoes: int | None
    undone_by: int | None


def property_view(
    conn: Connection, property_key: int, counties: Sequence[str] | None = None
) -> PropertyView:
    """A property by its key.

    Args:
        counties: those that may be seen; None for all.

    Raises:
        NotStored: there is none, or it may not be seen.
    """
    row = conn.execute(_PROPERTY, _visible(counties, property_key)).one_or_none()
    if row is None:
        raise NotStored(f"there is no property {property_key}")
    measured = conn.execute(_MEASURED, {"id": property_key})
    return PropertyView(
        row.id,
        row.county,
        row.property_id,
        row.state,
        row.reason,
        row.detail,
        row.address,
        tuple(row.parcel_ids or ()),
        row.source,
        None if row.boundary is None else shapely.from_wkb(row.boundary),
        row.area_m2,
        row.captured_on,
        row.chip_gsd_m or row.gsd_m,
        tuple(row.sources or ()),
        row.coverage_fraction,
        {each.label: each.area_m2 for each in measured},
        tuple(row.segmenters),
        full_review(conn, property_key),
        conn.execute(LABEL_CONTAINS, {"county": row.county}).scalar() or contained_labels(),
        tuple(map(_detection, conn.execute(_DETECTIONS, {"id": property_key}))),
    )


def property_of_detection(
    conn: Connection, detection_id: int, counties: Sequence[str] | None = None
) -> int:
    """The key of the property that a detection is on.

    Raises:
        NotStored: there is no such detection, or it may not be seen.
    """
    found = conn.execute(_PROPERTY_OF_DETECTION, _visible(counties, detection_id)).scalar()
    if found is None:
        raise NotStored(f"there is no detection {detection_id}")
    return int(found)


def review_history(
    conn: Connection, detection_id: int, counties: Sequence[str] | None = None
) -> list[ReviewEvent]:
    """What people decided about a detection, oldest first."""
    return [
        ReviewEvent(
            row.id, row.action, row.reviewer, row.note, row.created_at,
            {k: v for k, v in row.before.items() if k != "geom"}, row.after,
            _geometry(row.geom), _geometry(None if row.geom is None else row.geom_before),
            row.undoes, row.undone_by,
        )
        for row in conn.execute(_HISTORY, _visible(counties, detection_id))
    ]  # fmt: skip


def _geometry(wkb: bytes | None) -> BaseGeometry | None:
    return None if wkb is None else shapely.from_wkb(wkb)


def counties_of(conn: Connection, counties: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The counties that may be seen, with their numbers of properties."""
    return [dict(row) for row in conn.execute(_COUNTIES, _visible(counties)).mappings()]


def has_county(conn: Connection, county: str, counties: Sequence[str] | None = None) -> bool:
    """Whether a county has properties and may be seen."""
    return bool(conn.execute(_HAS_COUNTY, _visible(counties, county)).scalar_one())


def _visible(counties: Sequence[str] | None, row_id: int | str | None = None) -> dict[str, Any]:
    """Bind values of the statements above: the counties that may be seen, and a row's id."""
    return {"id": row_id, "counties": None if counties is None else list(counties)}


def _detection(row: Row[Any]) -> DetectionView:
    return DetectionView(
        row.id,
        row.label,
        row.state,
        row.score,
        row.version,
        row.segmenter,
        row.run,
        row.area_m2,
        row.clipped_area_m2,
        row.is_reviewed,
        row.review_id,
        row.action,
        row.reviewer,
        row.reviewed_at,
        shapely.from_wkb(row.geom),
    )
