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
        example: x and y of one of them, in the CRS of the file.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.example: tuple[float, float] | None = None

    def add(self, geometries: NDArray[np.object_], degrees: NDArray[np.object_]) -> None:
        """Count the geometries (n,) that are off Earth as EPSG:4326 `degrees` (n,)."""
        off = ~shapely.is_missing(degrees) & ~shapely.is_empty(degrees)
        off &= shapely.get_dimensions(degrees) == 2
        off[off] = ~on_earth(degrees[off])
        count = int(off.sum())
        if count and self.example is None:
            bounds = shapely.bounds(geometries[off])
            finite = bounds[np.isfinite(bounds).all(axis=1)]
            if len(finite):
                x, y = (finite[0, :2] + finite[0, 2:]) / 2
                self.example = float(x), float(y)
        self.rows += count

    def explanation(self, crs: CRS, *, is_of_entry: bool, fitting: str | None) -> str:
        """What is wrong with them, and what to set.

        Args:
            crs: that they are said to be in.
            is_of_entry: whether the registry entry says so; else the file.
            fitting: a CRS in which they are in the county.
        """
        if self.example is None:
            return f"{self.rows:,} lots have coordinates that are not numbers; download it again"
        x, y = self.example
        said_by = "'crs:' in the registry entry" if is_of_entry else "the file"
        looks = "feet or metres, not degrees" if max(abs(x), abs(y)) > 360 else "another CRS"
        if abs(x) <= 90 < abs(y) <= 180:
            looks = "latitude before longitude"
        elif not crs.is_geographic and max(abs(x), abs(y)) <= 360:
            looks = "degrees"
        example = fitting or ("EPSG:4326" if looks == "degrees" else "EPSG:2274")
        which = "that fits" if fitting else "of the county"
        return (
            f"{self.rows:,} lots are not on Earth: their coordinates, such as x {_number(x)}, "
            f"y {_number(y)}, look like {looks}, but {said_by} says {crs.name}. Set 'crs:' in the "
            f"registry entry to the one {which}, for example crs: {example}"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:g}"
