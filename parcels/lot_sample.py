"""Checks the first lots that a server's county answers; see `parcels.plausibility`."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

import numpy as np
from shapely import MultiPolygon

from parcels.boundary import LookupResult, Lot
from parcels.plausibility import check_plausibility, log_warnings
from parcels.registry.county import County

# Fewer lots say too little about the county.
_MIN_LOTS = 30


class LotSample:
    """Collects lots until they are enough to check.

    Attributes:
        warnings: what is not plausible about them; empty before the check.
    """

    def __init__(self, county: County) -> None:
        self.warnings: tuple[str, ...] = ()
        self._county = county
        self._lots: list[MultiPolygon] | None = []
        self._lock = Lock()

    def add(self, results: Iterable[LookupResult]) -> None:
        """Add the lots of some lookups, also those that a cache answered."""
        if self._lots is None:
            return
        with self._lock:
            if self._lots is None:
                return
            found = (result.boundary for result in results if isinstance(result, Lot))
            self._lots += [boundary.geometry for boundary in found]
            if len(self._lots) < _MIN_LOTS:
                return
            lots, self._lots = np.array(self._lots, dtype=object), None
        self.warnings = tuple(check_plausibility(self._county, lots))
        log_warnings(self.warnings)
