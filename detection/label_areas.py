"""The area of a label on a lot: the union of its detections, so that overlaps count once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from parcels.measure import areas_m2


def union_areas_m2(groups: Sequence[Sequence[BaseGeometry]]) -> NDArray[np.float64]:
    """The area in m² of the union of each group of polygons in EPSG:4326; 0 of an empty group.

    Raises:
        GeometryError, shapely.GEOSException: a geometry cannot be measured.
    """
    covered = [members[0] if len(members) == 1 else None for members in groups]
    several = [i for i, members in enumerate(groups) if len(members) > 1]
    for i, union in zip(several, _unions([groups[i] for i in several]), strict=True):
        covered[i] = union
    nonempty = [i for i, geometry in enumerate(covered) if geometry is not None]
    result = np.zeros(len(covered))
    result[nonempty] = areas_m2(covered[i] for i in nonempty)
    return result


def _unions(groups: Sequence[Sequence[BaseGeometry]]) -> Sequence[BaseGeometry]:
    if not groups:
        return []
    members = [member for group in groups for member in group]
    group_indices = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    collections = shapely.geometrycollections(members, indices=group_indices)
    return list(shapely.union_all(collections[:, None], axis=1))
