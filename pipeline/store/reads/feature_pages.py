"""Pages of stored rows with their geometry, by key, as other services read them.

Four collections: lots (boundaries of today), properties, detections (proposed and accepted) and
measurements (current). A page begins after a key: a later page costs no more than the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from pipeline.errors import NotStored
from pipeline.store.runs.counted_ground import IS_COUNTED

Bbox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Collection:
    """A kind of rows.

    Attributes:
        key: SQL of the row's id, by which rows are ordered.
        geometry: SQL of its EPSG:4326 geometry, which has an index.
        columns: SQL of the properties of a feature, by name.
        source: SQL after FROM, with the county's property as `p`.
        filters: SQL conditions by the name of their filter; `:value` in them is the filter's.
    """

    name: str
    title: str
    key: str
    geometry: str
    columns: Mapping[str, str]
    source: str
    filters: Mapping[str, str] = field(default_factory=dict)


_PROPERTY_COLUMNS = {
    "county": "p.county",
    "property_id": "p.property_id",
    "property_key": "p.id",
}
_OF_PROPERTY = {"county": "p.county = :value", "property_id": "p.property_id = :value"}
_LOT = "JOIN lotline.boundary b ON b.id = p.boundary_fk"

COLLECTIONS = {
    collection.name: collection
    for collection in (
        Collection(
            "lots",
            "Boundaries that are measured: lots, and 30 m circles where there is none",
            "b.id",
            "b.geom",
            _PROPERTY_COLUMNS
            | {
                "source": "b.source",
                "area_m2": "b.area_m2",
                "parcel_ids": "b.parcel_ids",
                "version": "b.version",
                "fetched_at": "b.fetched_at",
            },
            f"lotline.property p {_LOT}",
            _OF_PROPERTY | {"source": "b.source = :value"},
        ),
        Collection(
            "properties",
            "Properties, with their state; the geometry is the boundary",
            "p.id",
            "b.geom",
            _PROPERTY_COLUMNS
            | {
                "state": "p.state",
                "reason": "p.reason",
                "detail": "p.detail",
                "source": "b.source",
                "coverage_fraction": "p.coverage_fraction",
                "address": "p.address",
                "parcel_id": "p.parcel_id",
                "updated_at": "p.updated_at",
            },
            f"lotline.property p LEFT {_LOT}",
            _OF_PROPERTY | {"state": "p.state = :value", "source": "b.source = :value"},
        ),
        Collection(
            "detections",
            "Detections that are proposed or accepted, as they were drawn",
            "d.id",
            "d.geom",
            _PROPERTY_COLUMNS
            | {
                "property_state": "p.state",
                "label": "d.label",
                "state": "d.state",
                "score": "d.score",
                "area_m2": "d.area_m2",
                "clipped_area_m2": "d.clipped_area_m2",
                "segmenter": "d.segmenter",
                "version": "d.version",
                "reviewed": "d.review_fk IS NOT NULL",
                "source": "b.source",
                "captured_on": "c.captured_on",
                "updated_at": "d.updated_at",
            },
            """lotline.property p
            JOIN lotline.detection d ON d.property_fk = p.id
                AND d.state IN ('proposed', 'accepted')
            JOIN lotline.boundary b ON b.id = d.boundary_fk
            LEFT JOIN lotline.chip c ON c.sha256 = d.chip_sha256""",
            _OF_PROPERTY | {"label": "d.label = :value", "state": "d.state = :value"},
        ),
        Collection(
            "measurements",
            "The measured area of a label on a property; the geometry is the boundary",
            "m.id",
            "b.geom",
            _PROPERTY_COLUMNS
            | {
                "label": "m.label",
                "area_m2": "m.area_m2",
                "detection_count": "m.detection_count",
                "coverage_fraction": "m.coverage_fraction",
                "source": "m.source",
                "segmenter": "m.segmenter",
                "created_at": "m.created_at",
            },
            # As the status counts them: the measurements of a vanished lot say nothing of today.
            f"""lotline.property p
            JOIN lotline.measurement m ON m.property_fk = p.id AND m.current AND {IS_COUNTED}
            JOIN lotline.boundary b ON b.id = m.boundary_fk""",
            _OF_PROPERTY | {"label": "m.label = :value", "source": "m.source = :value"},
        ),
    )
}


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A row: its key, its properties, and its geometry in EPSG:4326."""

    key: int
    properties: dict[str, Any]
    geometry: BaseGeometry | None


def feature_page(
    conn: Connection,
    collection: Collection,
    limit: int,
    *,
    after: int = 0,
    bbox: Bbox | None = None,
    filters: Mapping[str, str] | None = None,
    counties: Sequence[str] | None = None,
) -> tuple[list[FeatureRow], bool]:
    """Up to `limit` rows after a key, and whether there are more.

    Args:
        bbox: (west, south, east, north) in degrees; west is more than east across longitude 180.
        filters: values by names in `collection.filters`.
        counties: those that may be seen; None for all.
    """
    conditions = [f"{collection.key} > :after"]
    values: dict[str, Any] = {"after": after, "limit": limit + 1}
    if bbox is not None:
        conditions.append(_inside(collection.geometry, bbox, values))
    for index, (name, value) in enumerate((filters or {}).items()):
        conditions.append(collection.filters[name].replace(":value", f":filter_{index}"))
        values[f"filter_{index}"] = value
    found = _rows(conn, collection, conditions, values, counties)
    return found[:limit], len(found) > limit


def feature(
    conn: Connection, collection: Collection, key: int, counties: Sequence[str] | None = None
) -> FeatureRow:
    """One row.

    Raises:
        NotStored: there is none with this key, or it is in a county that may not be seen.
    """
    found = _rows(
        conn, collection, [f"{collection.key} = :key"], {"key": key, "limit": 1}, counties
    )
    if not found:
        raise NotStored(f"{collection.name} has no item {key}")
    return found[0]


def _rows(
    conn: Connection,
    collection: Collection,
    conditions: Sequence[str],
    values: Mapping[str, Any],
    counties: Sequence[str] | None,
) -> list[FeatureRow]:
    if counties is not None:
        conditions = [*conditions, "p.county = ANY(CAST(:counties AS text[]))"]
        values = {**values, "counties": list(counties)}
    selected = ", ".join(f'{sql} AS "{name}"' for name, sql in collection.columns.items())
    query = text(
        f"SELECT {collection.key} AS feature_key, {selected}, "  # noqa: S608 - no text from outside
        f"ST_AsBinary({collection.geometry}) AS feature_geometry FROM {collection.source} "
        f"WHERE {' AND '.join(conditions)} ORDER BY {collection.key} LIMIT :limit"
    )
    rows = conn.execute(query, values).mappings().all()
    geometries = shapely.from_wkb([row["feature_geometry"] for row in rows])
    return [
        FeatureRow(
            row["feature_key"],
            {name: row[name] for name in collection.columns},
            geometry,
        )
        for row, geometry in zip(rows, geometries, strict=True)
    ]


def _inside(geometry: str, bbox: Bbox, values: dict[str, Any]) -> str:
    west, south, east, north = bbox
    boxes = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    for index, (left, right) in enumerate(boxes):
        values |= {f"left_{index}": left, f"right_{index}": right}
    values |= {"south": south, "north": north}
    return "({})".format(
        " OR ".join(
            f"ST_Intersects({geometry}, ST_MakeEnvelope(:left_{index}, :south, :right_{index}, "
            ":north, 4326))"
            for index in range(len(boxes))
        )
    )
