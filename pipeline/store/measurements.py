"""The saved area of a label on a property, and which detections it counts."""

from __future__ import annotations

from collections.abc import Iterable

import shapely
from parcels.measure import area_m2
from sqlalchemy import Connection, text

PLACE = text("""
SELECT p.boundary_fk, p.imaged_share, b.source
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk WHERE p.id = :property
""")

LIVE = text("""
SELECT id, ST_AsBinary(geom) AS geom FROM lotline.detection
WHERE property_fk = :property AND label = :label AND state IN ('proposed', 'accepted')
ORDER BY id
""")

CURRENT = text("""
SELECT m.id, m.boundary_fk, m.area_m2, m.imaged_share,
       ARRAY(SELECT detection_fk FROM lotline.measurement_detection
             WHERE measurement_fk = m.id ORDER BY detection_fk) AS detections
FROM lotline.measurement m WHERE m.property_fk = :property AND m.label = :label AND m.current
""")

RETIRE = text("UPDATE lotline.measurement SET current = false WHERE id = :id")

MEASURE = text("""
-- The measurement and the list of what it counts, in one statement.
WITH measured AS (
    INSERT INTO lotline.measurement
        (property_fk, boundary_fk, run_fk, label, area_m2, detection_count, imaged_share, source)
    VALUES (:property, :boundary, :run, :label, :area_m2, :count, :imaged_share, :source)
    RETURNING id, property_fk
)
INSERT INTO lotline.measurement_detection (measurement_fk, detection_fk, property_fk)
SELECT id, unnest(CAST(:detections AS bigint[])), property_fk FROM measured
""")


def remeasure(
    conn: Connection, property_fk: int, labels: Iterable[str], run_fk: int | None = None
) -> None:
    """Measure labels on a property anew: the area of the union of what is live there.

    The union, because what a person drew may overlap what a run found, and no square metre counts
    twice. A measurement that would say the same as the current one is not written again.
    """
    place = conn.execute(PLACE, {"property": property_fk}).one()
    for label in labels:
        where = {"property": property_fk, "label": label}
        live = conn.execute(LIVE, where).all()
        detections = [row.id for row in live]
        whole = shapely.union_all(shapely.from_wkb([row.geom for row in live]))
        measured_m2 = area_m2(whole) if live else 0.0
        current = conn.execute(CURRENT, where).first()
        if current is not None:
            same = (current.boundary_fk, current.imaged_share, list(current.detections))
            if same == (place.boundary_fk, place.imaged_share, detections) and (
                current.area_m2 == measured_m2
            ):
                continue
            conn.execute(RETIRE, {"id": current.id})
        conn.execute(
            MEASURE,
            {
                **where,
                "boundary": place.boundary_fk,
                "run": run_fk,
                "area_m2": measured_m2,
                "count": len(detections),
                "imaged_share": place.imaged_share,
                "source": place.source,
                "detections": detections,
            },
        )
