"""Click to mask: the object that a person points at, as the detector would have measured it.

Chips, pixel size, vectorization and clipping are the detector's, so areas agree with those of a
run. A lot that needs several chips is asked on the one whose centre is nearest: the outline ends at
that chip's edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import shapely
from shapely import MultiPolygon, Point
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.chip_plan import CONTEXT_BUFFER_M
from detection.clip import LotLines
from detection.imagery.interface import ImagerySource
from detection.labels import Label
from detection.lot_chips import LotChips
from detection.lot_results import lot_results
from detection.mosaic import mosaic_of
from detection.results import Detection
from detection.segmenters.interface import BoxPrompt, ClickPrompt, PromptableSegmenter
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal

# A metre: what is farther from the click is another part of the object.
_NEAR_DEG = 1e-5
# Ten metres, by which a drawn box may reach beyond the lot.
_AROUND_DEG = 1e-4


class ClickToMask:
    """Asks a segmenter for single objects on lots; one call at a time.

    Args:
        lines: offset and accuracy of the lot lines on the imagery.
        gsd_m: the ground sample distance for the segmenter, instead of its own.
    """

    def __init__(
        self,
        segmenter: PromptableSegmenter,
        imagery: ImagerySource,
        lines: LotLines | None = None,
        gsd_m: float | None = None,
    ) -> None:
        self.segmenter = segmenter
        self._lines = lines or LotLines()
        gsd_m = gsd_m or segmenter.gsd_m
        self._lot_chips = LotChips(imagery, segmenter.chip_px, gsd_m, self._lines)

    def object_at(
        self,
        boundary: Boundary,
        label: Label,
        prompt: Point | BaseGeometry,
        imagery_sha256: str | None = None,
    ) -> Detection | None:
        """The object of a label at a point, or in a box, on a lot; None if there is none.

        Args:
            prompt: EPSG:4326; of anything but a point, its bounding box.
            imagery_sha256: of the lot's imagery when it was measured; None if that is not known.

        Raises:
            ImageryChanged: it is another one today.
            ImageryUnavailable: the server is temporarily unavailable.
            NoImagery: there is none any more.
            SegmenterError: the segmenter failed.
            DetectionError: the lot is too large.
        """
        if not isinstance(prompt, Point):
            prompt = _near(prompt, boundary)
            if not prompt.area > 0:
                return None
        plan = self._lot_chips.plan(boundary)
        if imagery_sha256 is not None:
            self._lot_chips.check_imagery(boundary, plan, imagery_sha256)
        place = plan.grid.from_lonlat(prompt)
        window = min(
            plan.windows,
            key=lambda each: place.distance(shapely.box(*plan.grid.bounds(each)).centroid),
        )
        chip = self._lot_chips.chip((plan.grid, window))
        mask = self.segmenter.mask_at(chip, label, _in_pixels(place, chip))
        if mask is None:
            return None
        if len(plan.windows) > 1:
            inner = shapely.buffer(
                shapely.box(*plan.grid.bounds(window)),
                -CONTEXT_BUFFER_M / plan.grid.unit_m,
                join_style="mitre",
            )
            boundary = _part(boundary, plan.grid.to_lonlat(inner))
        [result] = lot_results([boundary], mosaic_of(chip, plan.grid, window), [mask], self._lines)
        return _nearest(result.detections, prompt)


def _near(prompt: BaseGeometry, boundary: Boundary) -> BaseGeometry:
    """The part of a box around a lot: one of half the world has no place in a projection."""
    around = shapely.box(*shapely.bounds(boundary.geometry)).buffer(_AROUND_DEG)
    return shapely.box(*shapely.intersection(prompt.envelope, around.envelope).bounds)


def _in_pixels(place: BaseGeometry, chip: Chip) -> ClickPrompt | BoxPrompt:
    to_pixels = ~chip.transform
    if isinstance(place, Point):
        return ClickPrompt(*(to_pixels @ (place.x, place.y)))
    west, south, east, north = place.bounds
    left, top = to_pixels @ (west, north)
    right, bottom = to_pixels @ (east, south)
    return BoxPrompt(left, top, right, bottom)


def _part(boundary: Boundary, inside: BaseGeometry) -> Boundary:
    part: MultiPolygon = polygonal(shapely.intersection(boundary.geometry, inside))
    return replace(boundary, geometry=part, area_m2=area_m2(part))


def _nearest(found: Sequence[Detection], prompt: BaseGeometry) -> Detection | None:
    """The detection at a point, or the one that has most of a box."""
    if isinstance(prompt, Point):
        there = [each for each in found if each.geometry.distance(prompt) <= _NEAR_DEG]
        return min(there, key=lambda each: each.geometry.distance(prompt), default=None)
    inside = {
        index: shapely.intersection(each.geometry, prompt).area for index, each in enumerate(found)
    }
    best = max(inside, key=lambda index: inside[index], default=None)
    return found[best] if best is not None and inside[best] > 0 else None
