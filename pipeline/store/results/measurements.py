"""The saved area of a label on a property: the union of its live detections in its boundary.

Live is what is proposed or accepted. What was found in another version of the boundary counts
only where it lies in the current one. Areas come from `parcels.measure`, as all areas do, and are
made for many properties at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from parcels.errors import GeometryError
from parcels.measure import area_m2, areas_m2, polygonal
from pipeline.store.bulk_copy import AREAS, MEASUREMENTS, plan_by_index

# Less is no part of a boundary, but the rounding of an edge that it shares with its neighbour.
_TRACE_M2 = 0.01


@dataclass(frozen=True, slots=True)
class LiveDetection:
    """A live detection: its label, EPSG:4326 geometry, and the boundary it was found in.

    Attributes:
        id: None for one that is about to be written.
    """

    id: int | None
    property_fk: int
    label: str
    geometry: MultiPolygon
    boundary_fk: int


@dataclass(frozen=True, slots=True)
class MeasurementBasis:
    """What a property's measurements rest on beside its detections.

    Attributes:
        source: of the boundary, `lot` or `buffer_30m`.
        geometry: of the boundary, in EPSG:4326.
        coverage_fraction: of the boundary's area, 0..1.
    """

    property_fk: int
    boundary_fk: int
    run_fk: int | None
    source: str
    geometry: MultiPolygon
    coverage_fraction: float


@dataclass(frozen=True, slots=True)
class LabelAreas:
    """The areas of labels on properties.

    Attributes:
        areas_m2: of each property and label that was asked for; 0 where nothing is live.
        outside: ids of live detections that do not count: no part of them is in the boundary.
    """

    areas_m2: dict[tuple[int, str], float]
    outside: list[int]


# The run whose pictures the measurements rest on: not always the one that took the property last,
# which may not have finished it.
_PLACE = text("""
SELECT p.boundary_fk, b.source, ST_AsBinary(b.geom) AS geom,
    coalesce(p.coverage_fraction, 0) AS coverage_fraction,
    (SELECT max(run_fk) FROM lotline.measurement WHERE property_fk = p.id AND current) AS run_fk
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.id = :property
""")

_LIVE = text("""
SELECT id, label, ST_AsBinary(geom) AS geom, boundary_fk FROM lotline.detection
WHERE property_fk = :property AND label = ANY(:labels) AND state IN ('proposed', 'accepted')
ORDER BY id
""")

# A measurement that says the same already stays as it is.
_CHANGED = text("""
INSERT INTO staged_measurement
SELECT new.*, counted.detections
FROM staged_area new
CROSS JOIN LATERAL (
    SELECT array(
        SELECT d.id FROM lotline.detection d
        WHERE d.property_fk = new.property_fk AND d.label = new.label
            AND d.state IN ('proposed', 'accepted')
            AND d.id <> ALL(CAST(:outside AS bigint[]))
        ORDER BY d.id) AS detections
) counted
WHERE NOT EXISTS (
    SELECT FROM lotline.measurement m
    WHERE m.property_fk = new.property_fk AND m.label = new.label AND m.current
        AND (m.area_m2, m.boundary_fk, m.coverage_fraction)
            = (new.area_m2, new.boundary_fk, new.coverage_fraction)
        AND counted.detections = array(
            SELECT d.detection_fk FROM lotline.measurement_detection d
            WHERE d.measurement_fk = m.id ORDER BY 1)
)
""")

_RETIRE = text("""
UPDATE lotline.measurement SET current = false WHERE id = ANY(ARRAY(
    SELECT old.id FROM staged_measurement new CROSS JOIN LATERAL (
        SELECT m.id FROM lotline.measurement m
        WHERE m.property_fk = new.property_fk AND m.label = new.label AND m.current
        OFFSET 0) old))
""")

# One statement for the measurements and for what they count: none is there without the other.
_INSERT = text("""
WITH written AS (
    INSERT INTO lotline.measurement
        (property_fk, boundary_fk, run_fk, label, area_m2, detection_count,
         coverage_fraction, source)
    SELECT property_fk, boundary_fk, run_fk, label, area_m2, cardinality(detections),
        coverage_fraction,
        source
    FROM staged_measurement
    RETURNING id, property_fk, label
)
INSERT INTO lotline.measurement_detection (measurement_fk, detection_fk, property_fk)
SELECT written.id, unnest(new.detections), property_fk
FROM written JOIN staged_measurement new USING (property_fk, label)
""")


def measure(
    bases: Mapping[int, MeasurementBasis], labels: Sequence[str], live: Iterable[LiveDetection]
) -> LabelAreas:
    """Measure these labels on properties from all that is live there, of those labels.

    `bases` are by property.

    `live` comes in the order in which it was written, in which the same detections give the same
    area to the last bit. What of it was found in another version of the boundary counts where it
    lies in the current one.

    Raises:
        GeometryError, shapely.GEOSException: geometries that cannot be measured.
    """
    groups: dict[tuple[int, str], list[BaseGeometry]] = {
        (property_fk, label): [] for property_fk in bases for label in labels
    }
    outside = []
    for detection in live:
        part = _inside(detection, bases[detection.property_fk])
        if part is not None:
            groups[detection.property_fk, detection.label].append(part)
        elif detection.id is not None:
            outside.append(detection.id)
    covered = [parts[0] if len(parts) == 1 else None for parts in groups.values()]
    several = [i for i, parts in enumerate(groups.values()) if len(parts) > 1]
    unions = _unions([parts for parts in groups.values() if len(parts) > 1])
    for i, union in zip(several, unions, strict=True):
        covered[i] = union
    found = [i for i, geometry in enumerate(covered) if geometry is not None]
    sizes_m2 = np.zeros(len(covered))
    sizes_m2[found] = areas_m2(covered[i] for i in found)
    return LabelAreas(dict(zip(groups, sizes_m2.tolist(), strict=True)), outside)


def replace(conn: Connection, bases: Mapping[int, MeasurementBasis], measured: LabelAreas) -> None:
    """Keep what was measured on properties as what holds now, with what is live there.

    `bases` are by property. A measurement that says the same already stays as it is; the others
    become history.
    """
    plan_by_index(conn)
    AREAS.copy_rows(conn, _rows(bases, measured.areas_m2))
    MEASUREMENTS.create_empty(conn)
    conn.execute(_CHANGED, {"outside": measured.outside})
    conn.execute(_RETIRE)
    conn.execute(_INSERT)


def remeasure(conn: Connection, property_fk: int, labels: Sequence[str]) -> None:
    """Measure labels of a property anew, after a person changed what is live there.

    The property stays as imaged as it was, and the measurement keeps its run. Without a boundary,
    as after its place was corrected, there is nothing to measure.
    """
    place = conn.execute(_PLACE, {"property": property_fk}).one_or_none()
    if place is None:
        return
    rows = conn.execute(_LIVE, {"property": property_fk, "labels": list(labels)})
    live = [
        LiveDetection(row.id, property_fk, row.label, shapely.from_wkb(row.geom), row.boundary_fk)
        for row in rows
    ]
    basis = MeasurementBasis(
        property_fk,
        place.boundary_fk,
        place.run_fk,
        place.source,
        shapely.from_wkb(place.geom),
        place.coverage_fraction,
    )
    bases = {property_fk: basis}
    replace(conn, bases, measure(bases, labels, live))


def _inside(detection: LiveDetection, basis: MeasurementBasis) -> MultiPolygon | None:
    """What of a live detection counts in the current boundary; None where nothing does.

    What was found in this boundary was clipped then, or a person drew it so: all of it counts.
    """
    if detection.boundary_fk == basis.boundary_fk:
        return detection.geometry
    try:
        part = polygonal(shapely.intersection(detection.geometry, basis.geometry))
    except GeometryError:  # they do not meet, or only touch
        return None
    return None if area_m2(part) < _TRACE_M2 else part


def _unions(groups: Sequence[Sequence[BaseGeometry]]) -> Sequence[BaseGeometry]:
    """What each group covers together: where its members overlap, it counts once."""
    if not groups:
        return []
    members = [member for group in groups for member in group]
    of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    together = shapely.geometrycollections(members, indices=of)
    return list(shapely.union_all(together[:, None], axis=1))


def _rows(
    bases: Mapping[int, MeasurementBasis], areas: Mapping[tuple[int, str], float]
) -> Iterator[tuple[object, ...]]:
    for (property_fk, label), size_m2 in areas.items():
        basis = bases[property_fk]
        yield (
            property_fk,
            basis.boundary_fk,
            basis.run_fk,
            label,
            size_m2,
            basis.coverage_fraction,
            basis.source,
        )
