"""The chips of one lot, read again as a run saw them, and checked against the stored hash."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import shapely
from shapely import MultiPolygon

from detection.chip import Chip
from detection.chip_plan import ChipKey, ChipPlan, plan_chips
from detection.clip import LotLines
from detection.errors import DetectionError, ImageryChanged, ImageryUnavailable, NoImagery
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import union
from detection.inference import with_view
from detection.lot_imagery import lot_imagery
from detection.mosaic import Mosaic, join_mosaics, mosaic_of
from parcels.boundary import Boundary
from parcels.measure import polygonal

_K = TypeVar("_K")
_V = TypeVar("_V")
# Chips whose pixels are held: 4 MB each at full size.
_CACHED_CHIPS = 16
# Lots whose imagery is known to be that of their measurement.
_CACHED_LOTS = 1024


class LotChips:
    """Reads the chips of lots from a county's imagery; not thread-safe.

    Args:
        chip_px: the side of a chip in pixels of `gsd_m`, as the segmenter has it.
        gsd_m: the ground sample distance for the segmenter; None for the imagery's own.
        lines: offset and accuracy of the lot lines on the imagery.
    """

    def __init__(
        self, imagery: ImagerySource, chip_px: int, gsd_m: float | None, lines: LotLines
    ) -> None:
        self._imagery = imagery
        self._chip_px = chip_px
        self._gsd_m = gsd_m
        self._lines = lines
        self._chips: OrderedDict[ChipKey, Chip] = OrderedDict()
        self._views: OrderedDict[ChipKey, Chip | None] = OrderedDict()
        self._checked: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    def plan(self, boundary: Boundary) -> ChipPlan:
        """The windows of the lot's chips.

        Raises:
            ImageryUnavailable: the server is temporarily unavailable.
            NoImagery: there is none any more.
            DetectionError: the lot is too large.
        """
        plans, failures = plan_chips(
            [boundary], self._imagery, self._chip_px, self._gsd_m, self._lines
        )
        for failure in failures.values():
            if failure.status == "unavailable":
                raise ImageryUnavailable(failure.detail)
            if failure.status == "no_imagery":
                raise NoImagery("missing", failure.detail)
            raise DetectionError(failure.detail)
        return plans[0]

    def chip(self, key: ChipKey) -> Chip:
        """The pixels of a chip, from a cache of the last ones.

        Raises:
            NoImagery: not one valid pixel.
            ImageryUnavailable: the server is temporarily unavailable.
        """
        return _remember(self._chips, key, lambda: self._imagery.read(*key), _CACHED_CHIPS)

    def view(self, key: ChipKey) -> Chip | None:
        """What the segmenter saw instead of a chip that lies partly beyond the imagery.

        Raises:
            NoImagery, ImageryUnavailable: as `chip`.
        """
        return _remember(
            self._views, key, lambda: with_view(self.chip(key), key, self._imagery).view,
            _CACHED_CHIPS,
        )  # fmt: skip

    def on_grid(self, boundary: Boundary, plan: ChipPlan) -> MultiPolygon:
        """The lot in the CRS of the plan's grid, aligned with the imagery."""
        lonlat = np.array([boundary.geometry], dtype=object)
        [lot] = self._lines.align_to_imagery(
            [boundary], plan.grid.from_lonlat(lonlat), plan.grid.unit_m
        )
        return polygonal(lot)

    def check_imagery(self, boundary: Boundary, plan: ChipPlan, expected_sha256: str) -> None:
        """Compare the hash of the lot's imagery with that which a run has stored.

        Raises:
            ImageryChanged: it is another one today.
            NoImagery, ImageryUnavailable: as `chip`.
        """
        key = (shapely.to_wkb(boundary.geometry), expected_sha256)
        if key not in self._checked:
            lot = self.on_grid(boundary, plan)
            found = lot_imagery([lot], self._mosaic(plan))[0].info.sha256
            if found != expected_sha256:
                raise ImageryChanged(
                    "the imagery here is not that in which the property was measured: it was "
                    "replaced, or is read otherwise. Run a batch with --again"
                )
        _remember(self._checked, key, lambda: None, _CACHED_LOTS)

    def _mosaic(self, plan: ChipPlan) -> Mosaic:
        """The mosaic of a lot, without chips that have no imagery, as a run measures on it."""
        mosaics, missing = [], []
        for key in plan.chip_keys:
            try:
                mosaics.append(mosaic_of(self.chip(key), *key))
            except NoImagery as error:
                missing.append(error)
        if not mosaics:
            raise missing[0]
        if len(plan.windows) == 1:
            return mosaics[0]
        failed = [source for error in missing for source in error.failed_sources]
        return join_mosaics(mosaics, union(plan.windows), failed)


def _remember(cache: OrderedDict[_K, _V], key: _K, make: Callable[[], _V], size: int) -> _V:
    """The value of a key in an LRU cache, made if it is not there."""
    value = cache.pop(key) if key in cache else make()
    cache[key] = value
    while len(cache) > size:
        cache.popitem(last=False)
    return value
