"""OffEarth: counts polygons whose coordinates are not on Earth in the CRS that they are said in."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from parcels.measure import on_earth


class OffEarth:
    """Polygons that are not on Earth, and where their coordinates are.

    Attributes:
        rows: number of them.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._example: tuple[float, float] | None = None

    def add(self, geometries: NDArray[np.object_], degrees: NDArray[np.object_]) -> None:
        """Count the geometries (n,) that are off Earth as EPSG:4326 `degrees` (n,)."""
        off = ~shapely.is_missing(degrees) & ~shapely.is_empty(degrees)
        off &= shapely.get_dimensions(degrees) == 2
        off[off] = ~on_earth(degrees[off])
        count = int(off.sum())
        if count and self._example is None:
            bounds = shapely.bounds(geometries[off])
            finite = bounds[np.isfinite(bounds).all(axis=1)]
            if len(finite):
                x, y = (finite[0, :2] + finite[0, 2:]) / 2
                self._example = float(x), float(y)
        self.rows += count

    def explanation(self, crs: CRS, is_of_entry: bool) -> str:
        """What is wrong with them, and what to set."""
        if self._example is None:
            return f"{self.rows:,} lots have coordinates that are not numbers; download it again"
        x, y = self._example
        said_by = "'crs:' in the registry entry" if is_of_entry else "the file"
        looks = "feet or metres, not degrees" if max(abs(x), abs(y)) > 360 else "another CRS"
        if abs(x) <= 90 < abs(y) <= 180:
            looks = "latitude before longitude"
        elif not crs.is_geographic and max(abs(x), abs(y)) <= 360:
            looks = "degrees"
        example = "EPSG:4326" if looks == "degrees" else "EPSG:2274"
        return (
            f"{self.rows:,} lots are not on Earth: their coordinates, such as x {x:,.0f}, "
            f"y {y:,.0f}, look like {looks}, but {said_by} says {crs.name}. Set 'crs:' in the "
            f"registry entry to the county's CRS, for example crs: {example}"
        )
