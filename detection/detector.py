"""Boundaries and imagery -> detections in each boundary, measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from detection.chips import ChipPlan, plan_chips
from detection.clock import Clock
from detection.errors import ImageryUnavailable, LabelError, NoImagery
from detection.imagery.protocol import Imagery
from detection.labels import Label
from detection.measured import lot_results, see
from detection.results import LotResult
from detection.segmenters.protocol import Segmenter
from parcels.boundary import Boundary

log = logging.getLogger(__name__)


class Detector:
    """Runs a segmenter over the chips that boundaries need, each chip once."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def detect(
        self, boundaries: Sequence[Boundary], imagery: Imagery, labels: Sequence[Label]
    ) -> list[LotResult]:
        """One result for each boundary, in their order.

        A boundary without usable imagery, or on a chip that the segmenter failed on, has a
        result that says so; it never stops the others.

        Raises:
            ImageryError: imagery that is configured wrongly.
            LabelError: a label that the segmenter does not find.
        """
        results = dict(self.detect_iter(boundaries, imagery, labels))
        return [results[index] for index in range(len(boundaries))]

    def detect_iter(
        self,
        boundaries: Sequence[Boundary],
        imagery: Imagery,
        labels: Sequence[Label],
        clock: Clock | None = None,
    ) -> Iterator[tuple[int, LotResult]]:
        """`detect`, chip by chip: (index of the boundary, its result) as soon as it is known."""
        clock = clock or Clock()
        self._check(labels)
        with clock.stage("plan"):
            plans, unplanned = plan_chips(boundaries, imagery)
        for index, why in unplanned.items():
            yield index, LotResult(why.status, reason=why.reason, detail=why.detail)
        for plan in plans:
            lots = [boundaries[index] for index in plan.lots]
            yield from zip(plan.lots, self._chip(plan, lots, imagery, labels, clock), strict=True)

    def _check(self, labels: Sequence[Label]) -> None:
        known = self.segmenter.labels
        for label in labels:
            if label.name not in known:
                raise LabelError(
                    f"the segmenter {self.segmenter.name} does not find {label.name!r}: choose "
                    f"from {', '.join(known)}, or another segmenter"
                )

    def _chip(
        self,
        plan: ChipPlan,
        lots: Sequence[Boundary],
        imagery: Imagery,
        labels: Sequence[Label],
        clock: Clock,
    ) -> list[LotResult]:
        """The results of the lots of one chip."""
        try:
            with clock.stage("read"):
                chip = imagery.read(plan.frame, plan.window)
        except NoImagery as error:
            return [LotResult("no_imagery", reason=error.reason, detail=str(error)) for _ in lots]
        except ImageryUnavailable as error:
            return [LotResult("unavailable", reason="imagery", detail=str(error)) for _ in lots]
        try:
            with clock.stage("segment"):
                (masks,) = self.segmenter.segment([chip], labels)
            with clock.stage("vectorize"):
                seen = [see(mask, chip, plan.frame) for mask in masks]
        except Exception as error:  # whatever a model does, the other chips go on
            log.warning("the segmenter failed on a chip: %s", error)
            log.debug("where it happened", exc_info=True)
            detail = f"{self.segmenter.name} failed: {error}"
            return [LotResult("failed", reason="segmenter", detail=detail) for _ in lots]
        with clock.stage("clip"):
            return lot_results(lots, chip, plan.frame, seen)
