"""Click to mask in the panel: the segmenter that measured a property, one click at a time.

It stays loaded. Weights that are promoted meanwhile answer from the next click on, also on
properties that an earlier model measured; each answer names its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import BoundedSemaphore, Lock

from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine

from detection.click_to_mask import ClickToMask
from detection.county_settings import chip_gsd_m, lot_lines
from detection.errors import SegmenterError
from detection.imagery.interface import ImagerySource
from detection.labels import Label
from detection.registry.county import DetectionCounty
from detection.results import Detection
from detection.segmenters import (
    build_promptable,
    can_prompt,
    promptable_name,
)
from detection.segmenters.interface import PromptableSegmenter
from pipeline.errors import InvalidOutline
from pipeline.review.problems import ProblemError
from pipeline.store.models.champion_holder import ChampionHolder
from pipeline.store.models.versions import is_registered
from pipeline.store.models.weights_source import build_with, is_exact
from pipeline.store.reads.click_target import ClickTarget, MeasuredBy

# Clicks that wait for the one at work. Each holds a thread of the server, which others need.
_MAX_WAITING = 4


@dataclass(frozen=True, slots=True)
class ClickAnswer:
    """The object at a click, and the segmenter and the weights that found it."""

    detection: Detection
    segmenter: str
    weights_sha256: str | None


class MaskService:
    """Segmenters, by name and weights, and what they know of each county; thread-safe.

    Args:
        sam3_weights: of the segmenter sam3, as a batch gets them: a promoted delta is put on a
            base that is named alone; BASE:DELTA stays, whatever is promoted.
        database: has the champions; None for the package's own weights.
        cache: for the files of champions: LOTLINE_HOME/models.
    """

    def __init__(
        self,
        sam3_weights: str | None = None,
        database: Engine | None = None,
        cache: Path | None = None,
    ) -> None:
        self._sam3_weights = sam3_weights
        self._database = database
        self._cache = cache
        self._segmenters: dict[str, PromptableSegmenter] = {}
        self._holders: dict[str, ChampionHolder] = {}
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
    ) -> ClickAnswer:
        """The object of a label at a prompt (EPSG:4326).

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
            segmenter = self._segmenter(measured)
            asked = self._asked(target.county, county, imagery, segmenter)
            found = asked.object_at(target.boundary, label, prompt, target.imagery_sha256)
        if found is None:
            raise InvalidOutline(
                f"{measured.segmenter} sees no {label.name} there: click in the middle of it, drag "
                "a box around it, or draw it"
            )
        return ClickAnswer(found, measured.segmenter, segmenter.weights_sha256)

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

    def _segmenter(self, measured: MeasuredBy) -> PromptableSegmenter:
        """The segmenter that measured, with the weights of now."""
        family = promptable_name(measured.segmenter)
        is_named = family == "sam3" and is_exact(family, self._sam3_weights)
        if family is None or self._database is None or self._cache is None or is_named:
            segmenter = self._named(measured.segmenter)
        else:
            segmenter = self._champion(family, self._database, self._cache, measured.segmenter)
        if segmenter.weights_sha256 != measured.weights_sha256 and not self._is_older(
            family, measured.weights_sha256
        ):
            raise SegmenterError(
                f"the weights of {measured.segmenter} here are not those that measured the "
                "property: set SAM3_WEIGHTS to those, or run a batch with --again"
            )
        return segmenter

    def _named(self, name: str) -> PromptableSegmenter:
        segmenter = self._segmenters.get(name)
        if segmenter is None:
            segmenter = self._segmenters[name] = build_promptable(name, self._sam3_weights)
        return segmenter

    def _champion(
        self, family: str, database: Engine, cache: Path, name: str
    ) -> PromptableSegmenter:
        holder = self._holders.get(family)
        if holder is None:
            build = partial(build_with, family, base=self._sam3_weights, for_clicks=True)
            holder = self._holders[family] = ChampionHolder(database, family, cache, build)
        segmenter = holder.current()
        if segmenter.name != name or not isinstance(segmenter, PromptableSegmenter):
            raise SegmenterError(
                f"the segmenter here is {segmenter.name}, and {name} measured: measure again"
            )
        return segmenter

    def _is_older(self, family: str | None, weights_sha256: str | None) -> bool:
        """Whether other weights measured because others are promoted since, or taken back."""
        holder = self._holders.get(family or "")
        if holder is None or self._database is None or weights_sha256 is None:
            return False
        with self._database.connect() as conn:
            return holder.version is not None or is_registered(conn, holder.name, weights_sha256)

    def _asked(
        self,
        key: str,
        county: DetectionCounty,
        imagery: Callable[[], ImagerySource],
        segmenter: PromptableSegmenter,
    ) -> ClickToMask:
        asked = self._by_county.get((key, segmenter.name))
        if asked is None or asked.segmenter is not segmenter:
            gsd_m = chip_gsd_m(county, segmenter.gsd_m)
            asked = ClickToMask(segmenter, imagery(), lot_lines(county), gsd_m)
            self._by_county[key, segmenter.name] = asked
        return asked


def _promptable(target: ClickTarget) -> MeasuredBy:
    for measured in target.measured_by:
        if can_prompt(measured.segmenter):
            return measured
    raise SegmenterError(
        "no segmenter that measured this property can be asked at a click: draw the outline"
    )
