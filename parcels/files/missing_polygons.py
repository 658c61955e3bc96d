"""MissingPolygons: counts rows without a usable polygon, so that no lot is missing in silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

# From this share on, the layer is not plausible, and `parcels.plausibility` says so.
_MAX_SHARE = 0.5


class MissingPolygons:
    """Rows of a file that have no polygon, or one that cannot be read or repaired."""

    def __init__(self) -> None:
        self._rows = 0
        self._missing = 0
        self._example = ""

    def add(self, lots: NDArray[np.object_], ids: Sequence[str | None] | None, first: int) -> None:
        """Count the rows of `lots` (n,) without a polygon; the first row has the number `first`."""
        missing = np.flatnonzero(shapely.is_missing(lots))
        if len(missing) and not self._missing:
            at = int(missing[0])
            with_id = f", parcel id {ids[at]!r}" if ids is not None and ids[at] else ""
            self._example = f"row {first + at}{with_id}"
        self._rows += len(lots)
        self._missing += len(missing)

    def warning(self, elsewhere: int) -> str | None:
        """What is missing; None if nothing is, or so much that another warning says it.

        Args:
            elsewhere: number of rows that another warning is about.
        """
        count = self._missing - elsewhere
        if count <= 0 or self._missing > _MAX_SHARE * self._rows:
            return None
        return (
            f"{count:,} of {self._rows:,} rows have no usable polygon (empty, cut or damaged), for "
            f"example {self._example}; a point on such a lot finds none"
        )
