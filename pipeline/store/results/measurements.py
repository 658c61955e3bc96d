"""The saved area of a label on a property: the union of its live detections in the boundary.

Live detections are proposed or accepted. A detection from another version of the boundary counts
only inside the current one. Areas come from `parcels.measure`, in one call for many properties.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from detection.label_areas import union_areas_m2
from parcels.errors import GeometryError
from parcels.measure import area_m2, polygonal
from pipeline.store.bulk_copy import AREAS, MEASUREMENTS, plan_by_index
from pipeline.store.results.crossings import require_few_in_common

# A smaller overlap is the rounding of an edge shared with the neighbour.
MIN_OVERLAP_M2 = 0.01


@dataclass(frozen=True, slots=True)
class LiveDetection:
    """A live detection: its label, EPSG:4326 geometry, and the boundary it was found in.

    Attributes:
        id: None for a new detection.
    """

    id: int | None
    property_fk: int
    label: str
    geometry: MultiPolygon
    boundary_fk: int


@dataclass(frozen=True, slots=True)
class MeasurementBasis:
    """What a property's measurements depend on, besides its detections.

    Attributes:
        source: of the boundary, `lot` or `buffer_30m`.
        geometry: of the boundary, in EPSG:4326.
        coverage_fraction: share of the boundary's area that has imagery, 0..1.
        segmenter, weights_sha256: what measures the labels; "person" if no run did.
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
class LabelAreas:
    """The areas of labels on properties.

    Attributes:
        areas_m2: by (property, label); 0 without live detections.
        outside: ids of live detections that are outside the boundary and do not count.
    """

    areas_m2: dict[tuple[int, str], float]
    outside: list[int]


# The run whose imagery was measured: the run that last leased the property may not have finished.
# A label that no run has measured is a person's.
_BASIS = text("""
SELECT p.boundary_fk, b.source, ST_AsBinary(b.geom) AS geom,
    coalesce(p.coverage_fraction, 0) AS coverage_fraction,
    (SELECT max(run_fk) FROM lotline.measurement WHERE property_fk = p.id AND current) AS run_fk,
    coalesce(m.segmenter, 'person') AS segmenter, m.weights_sha256
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN lotline.measurement m ON m.property_fk = p.id AND m.label = :label AND m.current
WHERE p.id = :property
""")

_LIVE = text("""
SELECT id, label, ST_AsBinary(geom) AS geom, boundary_fk FROM lotline.detection
WHERE property_fk = :property AND label = :label AND state IN ('proposed', 'accepted')
ORDER BY id
""")

_WITHOUT_MEASUREMENT = text("""
SELECT wanted.property_fk, wanted.label
FROM unnest(CAST(:ids AS bigint[]), CAST(:labels AS text[])) AS wanted (property_fk, label)
WHERE NOT EXISTS (
    SELECT FROM lotline.measurement m
    WHERE m.property_fk = wanted.property_fk AND m.label = wanted.label AND m.current
    OFFSET 0)
""")

# A measurement that is equal to the current one is not written.
_STAGE_CHANGED = text("""
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
        AND m.segmenter = new.segmenter
        AND m.weights_sha256 IS NOT DISTINCT FROM new.weights_sha256
        AND (m.area_m2, m.boundary_fk, m.coverage_fraction)
            = (new.area_m2, new.boundary_fk, new.coverage_fraction)
        AND counted.detections = array(
            SELECT d.detection_fk FROM lotline.measurement_detection d
            WHERE d.measurement_fk = m.id ORDER BY 1)
    OFFSET 0  -- without statistics, a join would read the entire table
)
""")

_RETIRE = text("""
UPDATE lotline.measurement SET current = false WHERE id = ANY(ARRAY(
    SELECT old.id FROM staged_measurement new CROSS JOIN LATERAL (
        SELECT m.id FROM lotline.measurement m
        WHERE m.property_fk = new.property_fk AND m.label = new.label AND m.current
        OFFSET 0) old))
""")

# One statement for the measurements and the detections that they count.
_INSERT = text("""
WITH written AS (
    INSERT INTO lotline.measurement
        (property_fk, boundary_fk, run_fk, label, area_m2, detection_count,
         coverage_fraction, source, segmenter, weights_sha256)
    SELECT property_fk, boundary_fk, run_fk, label, area_m2, cardinality(detections),
        coverage_fraction, source, segmenter, weights_sha256
    FROM staged_measurement
    RETURNING id, property_fk, label
)
INSERT INTO lotline.measurement_detection (measurement_fk, detection_fk, property_fk)
SELECT written.id, unnest(new.detections), property_fk
FROM written JOIN staged_measurement new USING (property_fk, label)
""")


def measure(
    bases: Mapping[int, MeasurementBasis],
    labels: Mapping[int, Sequence[str]],
    live: Iterable[LiveDetection],
) -> LabelAreas:
    """Measure labels on properties.

    Args:
        bases: by property.
        labels: that are measured, by property.
        live: all live detections of these labels, in the order in which they were written: the
            same detections then give the same area to the last bit. A detection from another
            version of the boundary counts only inside the current one.

    Raises:
        GeometryError, shapely.GEOSException: a geometry cannot be measured.
    """
    groups: dict[tuple[int, str], list[BaseGeometry]] = {
        (property_fk, label): [] for property_fk in bases for label in labels[property_fk]
    }
    outside = []
    for detection in live:
        part = _part_inside(detection, bases[detection.property_fk])
        if part is not None:
            groups[detection.property_fk, detection.label].append(part)
        elif detection.id is not None:
            outside.append(detection.id)
    label_areas_m2 = union_areas_m2(list(groups.values()))
    return LabelAreas(dict(zip(groups, label_areas_m2.tolist(), strict=True)), outside)


def replace(conn: Connection, bases: Mapping[int, MeasurementBasis], measured: LabelAreas) -> None:
    """Make new measurements the current ones, with the live detections that they count.

    `bases` are by property. An equal current measurement stays; others become history.
    """
    plan_by_index(conn)
    AREAS.copy_rows(conn, _area_rows(bases, measured.areas_m2))
    MEASUREMENTS.create_empty(conn)
    conn.execute(_STAGE_CHANGED, {"outside": measured.outside})
    conn.execute(_RETIRE)
    conn.execute(_INSERT)


def measure_reviewed(
    conn: Connection,
    bases: Mapping[int, MeasurementBasis],
    labels_of: Mapping[int, AbstractSet[str]],
    reviewed: Iterable[LiveDetection],
) -> None:
    """Measure what people let stand of labels that a run did not have, in a new boundary.

    The measurements of the old boundary ended, and only a run measures the label again. Until then
    what people let stand inside the new boundary is measured as theirs.

    Args:
        bases: by property.
        labels_of: the labels that the run measured, by property.
        reviewed: live ones, in the order in which they were written.
    """
    others: dict[tuple[int, str], list[LiveDetection]] = {}
    for item in reviewed:
        if item.property_fk in bases and item.label not in labels_of[item.property_fk]:
            others.setdefault((item.property_fk, item.label), []).append(item)
    if not others:
        return
    ids, names = zip(*others, strict=True)
    rows = conn.execute(_WITHOUT_MEASUREMENT, {"ids": list(ids), "labels": list(names)})
    wanted = sorted((row.property_fk, row.label) for row in rows)
    by_person = {
        key: dataclasses.replace(bases[key], segmenter="person", weights_sha256=None)
        for key, _ in wanted
    }
    labels = {key: [name for other, name in wanted if other == key] for key in by_person}
    measured = measure(by_person, labels, [item for each in wanted for item in others[each]])
    # Outside the boundary nobody looked: that is not an area of 0.
    inside = {each: size_m2 for each, size_m2 in measured.areas_m2.items() if size_m2 > 0}
    if inside:
        replace(conn, by_person, LabelAreas(inside, measured.outside))


def remeasure(conn: Connection, property_fk: int, labels: Sequence[str]) -> None:
    """Measure labels of a property again, after a review changed its live detections.

    Coverage, run and segmenter stay the same. Does nothing if the property has no boundary, as
    after its location was corrected.

    Raises:
        InvalidOutline: two live detections cross too often to be measured together.
    """
    for label in dict.fromkeys(labels):
        _remeasure_label(conn, property_fk, label)


def _remeasure_label(conn: Connection, property_fk: int, label: str) -> None:
    row = conn.execute(_BASIS, {"property": property_fk, "label": label}).one_or_none()
    if row is None:
        return
    rows = conn.execute(_LIVE, {"property": property_fk, "label": label})
    live = [
        LiveDetection(
            each.id, property_fk, each.label, shapely.from_wkb(each.geom), each.boundary_fk
        )
        for each in rows
    ]
    require_few_in_common([each.geometry for each in live])
    basis = MeasurementBasis(
        property_fk,
        row.boundary_fk,
        row.run_fk,
        row.source,
        shapely.from_wkb(row.geom),
        row.coverage_fraction,
        row.segmenter,
        row.weights_sha256,
    )
    bases = {property_fk: basis}
    replace(conn, bases, measure(bases, {property_fk: [label]}, live))


def _part_inside(detection: LiveDetection, basis: MeasurementBasis) -> MultiPolygon | None:
    """The part of a live detection that counts in the current boundary; None if none does.

    A detection of this boundary counts completely: it was clipped, or a person drew it so.
    """
    if detection.boundary_fk == basis.boundary_fk:
        return detection.geometry
    try:
        part = polygonal(shapely.intersection(detection.geometry, basis.geometry))
    except GeometryError:  # disjoint or only touching
        return None
    return None if area_m2(part) < MIN_OVERLAP_M2 else part


def _area_rows(
    bases: Mapping[int, MeasurementBasis], areas: Mapping[tuple[int, str], float]
) -> Iterator[tuple[object, ...]]:
    for (property_fk, label), label_area_m2 in areas.items():
        basis = bases[property_fk]
        yield (
            property_fk,
            basis.boundary_fk,
            basis.run_fk,
            label,
            label_area_m2,
            basis.coverage_fraction,
            basis.source,
            basis.segmenter,
            basis.weights_sha256,
        )
