"""Which findings of a chunk people have decided about: one spatial query for all of them.

A finding that overlaps a reviewed detection of its property and label by an intersection over
union of at least `REVIEW_MATCH_IOU`, with it or with one of its pieces, is the same thing, seen
again: there the person's word stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import GEOSException
from sqlalchemy import Connection, text

from parcels.errors import GeometryError
from parcels.measure import areas_m2
from pipeline.store.results.findings import Finding

REVIEW_MATCH_IOU = 0.5

# Reviewed detections as they are, and as they looked before a person changed them: who turned a
# tree into a lawn has also said that it is no tree, and a redrawn outline stands for the one that
# was found. Runs find a lawn before and behind a house as two, which a person may have made one: so
# each piece stands for itself too. Which of them meet a finding at all is asked of the boxes.
_NEAR = text("""
WITH reviewed AS MATERIALIZED (
    SELECT lot.property_fk, d.*
    FROM staged_lot lot CROSS JOIN LATERAL (
        SELECT id, label, geom FROM lotline.detection
        WHERE property_fk = lot.property_fk AND review_fk IS NOT NULL AND state <> 'superseded'
        OFFSET 0) d
), forms AS (
    SELECT property_fk, label, geom FROM reviewed
    UNION ALL
    SELECT reviewed.property_fk, r.before ->> 'label',
        ST_SetSRID(CAST(r.before ->> 'geom' AS geometry), 4326)
    FROM reviewed CROSS JOIN LATERAL (
        SELECT before FROM lotline.review
        WHERE detection_fk = reviewed.id AND action IN ('edit', 'relabel')
        OFFSET 0) r
)
SELECT found.place, ST_AsBinary(piece.geom) AS geom
FROM forms CROSS JOIN LATERAL (
    SELECT forms.geom
    UNION ALL
    SELECT (ST_Dump(forms.geom)).geom WHERE ST_NumGeometries(forms.geom) > 1
    OFFSET 0) piece
CROSS JOIN LATERAL (
    SELECT place FROM staged_finding
    WHERE property_fk = forms.property_fk AND label = forms.label AND geom && piece.geom
    OFFSET 0) found
""")


def review_matches(conn: Connection, findings: Sequence[Finding]) -> set[int]:
    """The places of the staged findings that give way to what a person decided.

    Raises:
        GeometryError: a finding that is no valid geometry.
    """
    near = conn.execute(_NEAR).all()
    if not near:
        return set()
    places = np.array([row.place for row in near])
    reviewed = shapely.from_wkb([row.geom for row in near])
    same = (
        _iou([findings[place].detection.geometry for place in places], reviewed) >= REVIEW_MATCH_IOU
    )
    return set(places[same].tolist())


def _iou(found: Sequence[object], reviewed: NDArray[np.object_]) -> NDArray[np.float64]:
    """Intersection over union (n,) of n pairs, by their areas in m²."""
    geometries = np.asarray(found, dtype=object)
    try:
        common = shapely.intersection(geometries, reviewed)
    except GEOSException as error:
        raise GeometryError(f"cannot intersect: {error}; call polygonal() first") from error
    common_m2, found_m2, reviewed_m2 = areas_m2([*common, *geometries, *reviewed]).reshape(3, -1)
    union_m2 = found_m2 + reviewed_m2 - common_m2
    return np.divide(common_m2, union_m2, out=np.zeros_like(union_m2), where=union_m2 > 0)
