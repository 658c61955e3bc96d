"""The saved area of a label on a property: the union of its live detections in its boundary.

Live is what is proposed or accepted. What was found in another version of the boundary counts
only where it lies in the current one. Areas come from `parcels.measure`, as all areas do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import shapely
from shapely import MultiPolygon
from sqlalchemy import Connection, text

from parcels.errors import GeometryError
from parcels.measure import area_m2, polygonal

# Less is no part of a boundary, but the rounding of an edge that it shares with its neighbour.
_TRACE_M2 = 0.01


@dataclass(frozen=True, slots=True)
class Live:
    """A live detection: its id, label, EPSG:4326 geometry, and the boundary it was found in."""

    id: int
    label: str
    geometry: MultiPolygon
    boundary_fk: int


@dataclass(frozen=True, slots=True)
class Basis:
    """What a property's measurements rest on beside its detections.

    Attributes:
        source: of the boundary, `lot` or `buffer_30m`.
        geometry: of the boundary, in EPSG:4326.
        imaged_share: of the boundary's area, 0..1.
    """

    property_fk: int
    boundary_fk: int
    run_fk: int | None
    source: str
    geometry: MultiPolygon
    imaged_share: float


# The run whose pictures the measurements rest on: not always the one that took the property last,
# which may not have finished it.
_PLACE = text("""
SELECT p.boundary_fk, b.source, ST_AsBinary(b.geom) AS geom,
    coalesce(p.imaged_share, 0) AS imaged_share,
    (SELECT max(run_fk) FROM lotline.measurement WHERE property_fk = p.id AND current) AS run_fk
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.id = :property
""")

_LIVE = text("""
SELECT id, label, ST_AsBinary(geom) AS geom, boundary_fk FROM lotline.detection
WHERE property_fk = :property AND label = ANY(:labels) AND state IN ('proposed', 'accepted')
""")

_CURRENT = text("""
SELECT m.id, m.label, m.area_m2, m.boundary_fk, m.imaged_share,
    array(SELECT d.detection_fk FROM lotline.measurement_detection d
          WHERE d.measurement_fk = m.id ORDER BY 1) AS detections
FROM lotline.measurement m
WHERE m.property_fk = :property AND m.current AND m.label = ANY(:labels)
""")

_RETIRE = text("UPDATE lotline.measurement SET current = false WHERE id = ANY(:ids)")

# One statement for the measurements and for what they count: none is there without the other.
_INSERT = text("""
WITH written AS (
    INSERT INTO lotline.measurement
        (property_fk, boundary_fk, run_fk, label, area_m2, detection_count, imaged_share, source)
    SELECT :property, :boundary, :run, label, area_m2, detection_count, :imaged_share, :source
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


def replace(
    conn: Connection, basis: Basis, labels: Sequence[str], live: Iterable[Live]
) -> dict[str, float]:
    """Measure these labels of a property from its live detections; label -> m².

    `live` holds all of the property's live detections of the labels, those of other versions of
    its boundary included: what of them lies in the current one counts. A measurement that says
    the same already stays as it is; the others become history.
    """
    by_label: dict[str, list[Live]] = {label: [] for label in labels}
    for detection in live:
        if (counted_part := _inside(detection, basis)) is not None:
            by_label[detection.label].append(counted_part)
    areas_m2 = {label: union_area_m2(found) for label, found in by_label.items()}

    rows = conn.execute(_CURRENT, {"property": basis.property_fk, "labels": list(by_label)}).all()
    said = {
        row.label: (row.area_m2, row.boundary_fk, row.imaged_share, row.detections) for row in rows
    }
    new = [
        label
        for label, found in by_label.items()
        if said.get(label)
        != (
            areas_m2[label],
            basis.boundary_fk,
            basis.imaged_share,
            sorted(detection.id for detection in found),
        )
    ]
    retired = [row.id for row in rows if row.label in new]
    if retired:
        conn.execute(_RETIRE, {"ids": retired})
    if new:
        counted = [detection for label in new for detection in by_label[label]]
        conn.execute(
            _INSERT,
            {
                "property": basis.property_fk,
                "boundary": basis.boundary_fk,
                "run": basis.run_fk,
                "imaged_share": basis.imaged_share,
                "source": basis.source,
                "labels": new,
                "areas_m2": [areas_m2[label] for label in new],
                "counts": [len(by_label[label]) for label in new],
                "detections": [detection.id for detection in counted],
                "detection_labels": [detection.label for detection in counted],
            },
        )
    return areas_m2


def remeasure(conn: Connection, property_fk: int, labels: Sequence[str]) -> None:
    """Measure labels of a property anew, after a person changed what is live there.

    The property stays as imaged as it was, and the measurement keeps its run. Without a boundary,
    as after its place was corrected, there is nothing to measure.
    """
    place = conn.execute(_PLACE, {"property": property_fk}).one_or_none()
    if place is None:
        return
    rows = conn.execute(_LIVE, {"property": property_fk, "labels": list(labels)})
    live = [Live(row.id, row.label, shapely.from_wkb(row.geom), row.boundary_fk) for row in rows]
    basis = Basis(
        property_fk,
        place.boundary_fk,
        place.run_fk,
        place.source,
        shapely.from_wkb(place.geom),
        place.imaged_share,
    )
    replace(conn, basis, labels, live)


def _inside(detection: Live, basis: Basis) -> Live | None:
    """What of a live detection counts in the current boundary; None where nothing does.

    What was found in this boundary was clipped then, or a person drew it so: all of it counts.
    """
    if detection.boundary_fk == basis.boundary_fk:
        return detection
    try:
        part = polygonal(shapely.intersection(detection.geometry, basis.geometry))
    except GeometryError:  # they do not meet, or only touch
        return None
    if area_m2(part) < _TRACE_M2:
        return None
    return Live(detection.id, detection.label, part, basis.boundary_fk)


def union_area_m2(detections: Sequence[Live]) -> float:
    """The area that detections cover together: where they overlap, it counts once."""
    if not detections:
        return 0.0
    if len(detections) == 1:
        return area_m2(detections[0].geometry)
    # In one order, in which the same detections give the same area to the last bit.
    ordered = sorted(detections, key=lambda detection: detection.id)
    return area_m2(shapely.union_all([detection.geometry for detection in ordered]))
