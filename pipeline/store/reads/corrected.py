"""What an import of corrections compares with: stored detections, their earlier forms, lots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from pipeline.store.runs.counted_ground import HAS_VANISHED

_STORED = text("""
SELECT d.id, d.property_fk, p.property_id, d.label, d.state, d.version, d.area_m2,
    d.review_fk IS NOT NULL AS is_reviewed, r.reviewer, ST_AsBinary(d.geom) AS geom,
    ST_AsBinary(b.geom) AS boundary
FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN lotline.review r ON r.id = d.review_fk
WHERE d.id = ANY(CAST(:ids AS bigint[])) AND p.county = :county
""")

# What a detection was before each review: the version that somebody exported may be one of them.
_EARLIER = text("""
SELECT detection_fk, CAST(before ->> 'version' AS integer) AS version, before ->> 'state' AS state,
    before ->> 'label' AS label, ST_AsBinary(CAST(before ->> 'geom' AS geometry)) AS geom
FROM lotline.review WHERE detection_fk = ANY(CAST(:ids AS bigint[])) AND before ->> 'geom' <> ''
""")

_LOTS_AT = text(f"""
SELECT p.id, p.property_id, b.source, ST_AsBinary(b.geom) AS geom
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = :county AND NOT {HAS_VANISHED}
    AND ST_Intersects(b.geom, ST_GeomFromWKB(:geom, 4326))
ORDER BY p.id
""")  # noqa: S608

_LIVE = text("""
SELECT id, state, version, ST_AsBinary(geom) AS geom FROM lotline.detection
WHERE property_fk = :property AND label = :label AND state IN ('proposed', 'accepted')
ORDER BY state, id
""")

_LABELS = text("""
SELECT DISTINCT m.label FROM lotline.measurement m JOIN lotline.property p ON p.id = m.property_fk
WHERE p.county = :county AND m.current
UNION
SELECT DISTINCT d.label FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
WHERE p.county = :county
ORDER BY 1
""")

_KNOWN_KEYS = text("""
SELECT idempotency_key FROM lotline.review WHERE idempotency_key = ANY(CAST(:keys AS text[]))
""")

# Those that were there when the file was made, on properties that it has.
_LEFT_OUT = text("""
SELECT d.id FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
WHERE p.county = :county AND p.property_id = ANY(CAST(:properties AS text[]))
    AND d.label = ANY(CAST(:labels AS text[])) AND d.state IN ('proposed', 'accepted')
    AND d.id <= :newest AND NOT d.id = ANY(CAST(:ids AS bigint[]))
ORDER BY d.id
""")

# Runs and reviewers lock several in the order of their ids.
_LOCK = text("""
SELECT id FROM lotline.property WHERE id = ANY(CAST(:ids AS bigint[]))
ORDER BY id FOR NO KEY UPDATE
""")


@dataclass(frozen=True, slots=True)
class Form:
    """A detection at one version; the outline is EPSG:4326."""

    version: int
    state: str
    label: str
    outline: BaseGeometry


@dataclass(frozen=True, slots=True)
class ExportedDetection:
    """A detection with its earlier forms, by version, and its property's boundary of today."""

    id: int
    property_fk: int
    property_id: str
    now: Form
    is_reviewed: bool
    reviewer: str | None
    boundary: BaseGeometry | None
    earlier: dict[int, Form]

    def at(self, version: int) -> Form | None:
        """The form at a version; None if it is not known."""
        return self.now if version == self.now.version else self.earlier.get(version)


@dataclass(frozen=True, slots=True)
class LotAt:
    """A property whose boundary meets an outline."""

    key: int
    property_id: str
    source: str
    boundary: BaseGeometry


@dataclass(frozen=True, slots=True)
class NearbyDetection:
    """A proposed or accepted detection."""

    id: int
    state: str
    version: int
    outline: BaseGeometry


def stored_detections(
    conn: Connection, county: str, ids: Iterable[int]
) -> dict[int, ExportedDetection]:
    """The detections of a county with these ids."""
    wanted = list(set(ids))
    earlier: dict[int, dict[int, Form]] = {}
    for row in conn.execute(_EARLIER, {"ids": wanted}):
        form = Form(row.version, row.state, row.label, shapely.from_wkb(row.geom))
        earlier.setdefault(row.detection_fk, {})[row.version] = form
    return {
        row.id: ExportedDetection(
            row.id, row.property_fk, row.property_id,
            Form(row.version, row.state, row.label, shapely.from_wkb(row.geom)),
            row.is_reviewed, row.reviewer,
            None if row.boundary is None else shapely.from_wkb(row.boundary),
            earlier.get(row.id, {}),
        )
        for row in conn.execute(_STORED, {"ids": wanted, "county": county})
    }  # fmt: skip


def lots_at(conn: Connection, county: str, outline: BaseGeometry) -> list[LotAt]:
    """Properties of a county whose boundary of today meets an EPSG:4326 outline."""
    where = {"county": county, "geom": shapely.to_wkb(outline)}
    return [
        LotAt(row.id, row.property_id, row.source, shapely.from_wkb(row.geom))
        for row in conn.execute(_LOTS_AT, where)
    ]


def live_detections(conn: Connection, property_fk: int, label: str) -> list[NearbyDetection]:
    """The live detections of a label on a property, accepted ones first."""
    return [
        NearbyDetection(row.id, row.state, row.version, shapely.from_wkb(row.geom))
        for row in conn.execute(_LIVE, {"property": property_fk, "label": label})
    ]


def labels_of(conn: Connection, county: str) -> list[str]:
    """The labels that a county's properties have."""
    return list(conn.execute(_LABELS, {"county": county}).scalars())


def known_keys(conn: Connection, keys: Sequence[str]) -> set[str]:
    """Those of the idempotency keys that a review has."""
    return set(conn.execute(_KNOWN_KEYS, {"keys": list(keys)}).scalars())


def left_out(
    conn: Connection,
    county: str,
    labels: Iterable[str],
    properties: Iterable[str],
    ids: Iterable[int],
) -> list[int]:
    """Live detections that a file with these ids does not have, on the properties that it has.

    Those that are newer than all in the file were not there when it was made.
    """
    known = list(ids)
    where: dict[str, Any] = {
        "county": county,
        "labels": list(labels),
        "properties": list(properties),
        "ids": known,
        "newest": max(known, default=0),
    }
    return list(conn.execute(_LEFT_OUT, where).scalars())


def lock_properties(conn: Connection, keys: Iterable[int]) -> None:
    """Lock properties until the end of the transaction, as a review does."""
    conn.execute(_LOCK, {"ids": sorted(set(keys))})
