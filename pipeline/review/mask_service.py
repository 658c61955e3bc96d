"""Click to mask in the panel: the segmenter that measured a property, loaded once, one click at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from threading import BoundedSemaphore, Lock

from shapely.geometry.base import BaseGeometry

from detection.click_to_mask import ClickToMask
from detection.county_settings import chip_gsd_m, lot_lines
from detection.errors import SegmenterError
from detection.imagery.interface import ImagerySource
from detection.labels import Label
from detection.registry.county import DetectionCounty
from detection.results import Detection
from detection.segmenters import build_promptable, can_prompt
from detection.segmenters.interface import PromptableSegmenter
from pipeline.errors import InvalidOutline
from pipeline.review.problems import ProblemError
from pipeline.store.reads.click_target import ClickTarget, MeasuredBy

# Clicks that wait for the one at work. Each holds a thread of the server, which others need.
_MAX_WAITING = 4


class MaskService:
    """Segmenters, by name and weights, and what they know of each county; thread-safe.

    Args:
        sam3_weights: of the segmenter sam3, as a batch gets them.
    """

    def __init__(self, sam3_weights: str | None = None) -> None:
        self._sam3_weights = sam3_weights
        self._segmenters: dict[str, PromptableSegmenter] = {}
        self._by_county: dict[tuple[str, str], ClickToMask] = {}
        self._lock = Lock()
        self._places = BoundedSemaphore(1 + _MAX_WAITING)

    def outline(
        self,
        target: ClickTarget,
        county: DetectionCounty,
        imagery: Callable[[], ImagerySource],
        label: Label,
        prompt: BaseGeometry,
    ) -> tuple[Detection, str]:
        """The object of a label at a prompt (EPSG:4326), and the segmenter's name.

        Raises:
            InvalidOutline: there is no such object.
            SegmenterError: no segmenter of the property has such a prompt, or not with the weights
                that measured it.
            ProblemError: too many clicks wait.
            DetectionError: as `ClickToMask.object_at`.
        """
        measured = _promptable(target)
        if measured.prompt is not None:
            label = replace(label, prompt=measured.prompt)
        with self._one_at_a_time():
            asked = self._asked(target.county, county, imagery, measured)
            found = asked.object_at(target.boundary, label, prompt, target.imagery_sha256)
        if found is None:
            raise InvalidOutline(
                f"{measured.segmenter} sees no {label.name} there: click in the middle of it, drag "
                "a box around it, or draw it"
            )
        return found, measured.segmenter

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "other reviewers' clicks are being answered: click again in a moment",
                {"Retry-After": "2"},
            )
        try:
            with self._lock:
                yield
        finally:
            self._places.release()

    def _asked(
        self,
        key: str,
        county: DetectionCounty,
        imagery: Callable[[], ImagerySource],
        measured: MeasuredBy,
    ) -> ClickToMask:
        segmenter = self._segmenters.get(measured.segmenter)
        if segmenter is None:
            segmenter = build_promptable(measured.segmenter, self._sam3_weights)
            self._segmenters[measured.segmenter] = segmenter
        if segmenter.weights_sha256 != measured.weights_sha256:
            raise SegmenterError(
                f"the weights of {measured.segmenter} here are not those that measured the "
                "property: set SAM3_WEIGHTS to those, or run a batch with --again"
            )
        asked = self._by_county.get((key, measured.segmenter))
        if asked is None:
            gsd_m = chip_gsd_m(county, segmenter.gsd_m)
            asked = ClickToMask(segmenter, imagery(), lot_lines(county), gsd_m)
            self._by_county[key, measured.segmenter] = asked
        return asked


def _promptable(target: ClickTarget) -> MeasuredBy:
    for measured in target.measured_by:
        if can_prompt(measured.segmenter):
            return measured
    raise SegmenterError(
        "no segmenter that measured this property can be asked at a click: draw the outline"
    )
