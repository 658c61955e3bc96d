"""Which findings are the object of a review: by intersection over union (IoU).

A finding matches if its IoU with a form of a reviewed detection of its property and label, or with
one polygon of it, is at least `REVIEW_MATCH_IOU`. It is then the same object: the review is left
unchanged and the finding is suppressed. Forms are the current outline and label, and those before
each edit: a tree that was relabelled as a lawn is not a tree, and an edited outline replaces the
one that was found. Each polygon of a multipolygon is matched too: a person may have joined a front
and a back lawn, which runs find as two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import GEOSException
from sqlalchemy import Row

from parcels.errors import GeometryError
from parcels.measure import areas_m2
from pipeline.store.results.findings import Finding

REVIEW_MATCH_IOU = 0.5


def matching(findings: Sequence[Finding], forms: Sequence[Row[tuple[object, ...]]]) -> set[int]:
    """The indices of the findings that match a form.

    Args:
        forms: pairs of a `finding_index` and a `geom` (WKB) of the finding's property and label.

    Raises:
        GeometryError: the geometry of a finding is invalid.
    """
    if not forms:
        return set()
    complete = shapely.from_wkb([form.geom for form in forms])
    polygons, of_form = shapely.get_parts(complete, return_index=True)
    of_several = shapely.get_num_geometries(complete)[of_form] > 1
    reviewed = np.concatenate([complete, polygons[of_several]])
    indices = np.array([form.finding_index for form in forms])
    indices = np.concatenate([indices, indices[of_form[of_several]]])
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
