"""Finds the findings of a chunk that match a reviewed detection, with one spatial query.

A finding matches if its intersection over union (IoU) with a reviewed detection of its property and
label, or with one polygon of it, is at least `REVIEW_MATCH_IOU`. It is then the same object: the
review is left unchanged and the finding is suppressed.
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

# Matched are the current form of a reviewed detection and its form before each edit: a tree that
# was relabelled as a lawn is not a tree, and an edited outline replaces the one that was found.
# Each polygon of a multipolygon is matched too: a person may have joined a front and a back lawn,
# which runs find as two. Candidate pairs come from bounding boxes (&&).
_CANDIDATES = text("""
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
SELECT found.finding_index, ST_AsBinary(piece.geom) AS geom
FROM forms CROSS JOIN LATERAL (
    SELECT forms.geom
    UNION ALL
    SELECT (ST_Dump(forms.geom)).geom WHERE ST_NumGeometries(forms.geom) > 1
    OFFSET 0) piece
CROSS JOIN LATERAL (
    SELECT finding_index FROM staged_finding
    WHERE property_fk = forms.property_fk AND label = forms.label AND geom && piece.geom
    OFFSET 0) found
""")


def review_matches(conn: Connection, findings: Sequence[Finding]) -> set[int]:
    """The indices of the staged findings that match a reviewed detection.

    Raises:
        GeometryError: the geometry of a finding is invalid.
    """
    candidates = conn.execute(_CANDIDATES).all()
    if not candidates:
        return set()
    indices = np.array([row.finding_index for row in candidates])
    reviewed = shapely.from_wkb([row.geom for row in candidates])
    found = [findings[index].detection.geometry for index in indices]
    matches = _iou(found, reviewed) >= REVIEW_MATCH_IOU
    return set(indices[matches].tolist())


def _iou(found: Sequence[object], reviewed: NDArray[np.object_]) -> NDArray[np.float64]:
    """Intersection over union (n,) of n pairs, by their areas in m²."""
    geometries = np.asarray(found, dtype=object)
    try:
        intersection = shapely.intersection(geometries, reviewed)
    except GEOSException as error:
        raise GeometryError(f"cannot intersect: {error}; call polygonal() first") from error
    intersection_m2, found_m2, reviewed_m2 = areas_m2(
        [*intersection, *geometries, *reviewed]
    ).reshape(3, -1)
    union_m2 = found_m2 + reviewed_m2 - intersection_m2
    return np.divide(intersection_m2, union_m2, out=np.zeros_like(union_m2), where=union_m2 > 0)
