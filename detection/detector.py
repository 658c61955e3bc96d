"""Boundaries and imagery -> detections in each boundary, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from detection.chips import ChipPlan, plan_chips
from detection.clip import LotLines
from detection.clock import Clock
from detection.errors import LabelError
from detection.imagery.frame import Frame, PixelWindow, union
from detection.imagery.protocol import Imagery
from detection.labels import Label
from detection.look import Place, Seen, Unseen, look, segmenter_failed
from detection.measured import lot_results
from detection.results import LotResult
from detection.scene import joined
from detection.segmenters.protocol import Segmenter
from detection.stitch import stitch
from parcels.boundary import Boundary


@dataclass(frozen=True, slots=True)
class FirstChips:
    """How fast the segmenter was on the first chips, while most are still to come.

    Attributes:
        device: in words for people.
        chips, seconds: what it was given together, and how long that took, without reading.
        prompts: labels asked of each chip.
        planned_chips, planned_lots: of this call, these ones included.
    """

    device: str
    chips: int
    seconds: float
    prompts: int
    planned_chips: int
    planned_lots: int


class Detector:
    """Runs a segmenter over the chips that boundaries need, each chip once.

    Args:
        lines: how the boundaries lie on the imagery.
        gsd_m: the ground sample distance that the segmenter is shown, instead of its own choice.
    """

    def __init__(
        self, segmenter: Segmenter, lines: LotLines | None = None, gsd_m: float | None = None
    ) -> None:
        self.segmenter = segmenter
        self.lines = lines or LotLines()
        self.gsd_m = gsd_m or segmenter.gsd_m

    def detect(
        self, boundaries: Sequence[Boundary], imagery: Imagery, labels: Sequence[Label]
    ) -> list[LotResult]:
        """One result for each boundary, in their order.

        A boundary without usable imagery, or on a chip that the segmenter failed on, has a
        result that says so; it never stops the others.

        Raises:
            ImageryError: imagery that is configured wrongly.
            LabelError: a label that the segmenter does not find.
            SegmenterError: a prompt that the segmenter cannot read.
        """
        results = dict(self.detect_iter(boundaries, imagery, labels))
        return [results[index] for index in range(len(boundaries))]

    def detect_iter(
        self,
        boundaries: Sequence[Boundary],
        imagery: Imagery,
        labels: Sequence[Label],
        clock: Clock | None = None,
        on_first: Callable[[FirstChips], None] | None = None,
    ) -> Iterator[tuple[int, LotResult]]:
        """`detect`, chip by chip: (index of the boundary, its result) as soon as it is known.

        Args:
            on_first: called once, after the segmenter's first chips.
        """
        clock = clock or Clock()
        self._check(labels)
        with clock.stage("plan"):
            plans, unplanned = plan_chips(
                boundaries, imagery, self.segmenter.chip_px, self.gsd_m, self.lines
            )
        for index, why in unplanned.items():
            yield index, LotResult(why.status, reason=why.reason, detail=why.detail)
        if not plans:
            return
        with clock.stage("prepare"):
            self.segmenter.prepare(labels)
        plans = _swept(plans)
        waiting = _Waiting(plans)
        places = waiting.places()
        planned_lots = sum(len(plan.lots) for plan in plans)

        def first(chips: int, seconds: float) -> None:
            if on_first:
                device, prompts = self.segmenter.device, len(labels)
                on_first(FirstChips(device, chips, seconds, prompts, len(places), planned_lots))

        for place, looked in look(places, imagery, self.segmenter, labels, clock, first):
            for plan, looks in waiting.ready(place, looked):
                lots = [boundaries[index] for index in plan.lots]
                results = self._results(plan, lots, looks, labels, clock)
                yield from zip(plan.lots, results, strict=True)

    def _results(
        self,
        plan: ChipPlan,
        lots: Sequence[Boundary],
        looks: Mapping[PixelWindow, Seen | Unseen],
        labels: Sequence[Label],
        clock: Clock,
    ) -> list[LotResult]:
        """The results of the lots of one plan, of what was seen of its chips."""
        seen = {window: each for window, each in looks.items() if isinstance(each, Seen)}
        unseen = [each for each in looks.values() if isinstance(each, Unseen)]
        if why := _refusal(unseen, partly=bool(seen)):
            return [why for _ in lots]
        try:
            if len(plan.windows) == 1:
                [(scene, masks)] = [(each.scene, each.masks) for each in seen.values()]
            else:
                with clock.stage("stitch"):
                    window = union(plan.windows)
                    failed = [source for each in unseen for source in each.failed_sources]
                    scene = joined([each.scene for each in seen.values()], window, failed)
                    drawn = {chip: each.masks for chip, each in seen.items()}
                    masks = list(stitch(drawn, labels, window, plan.within))
            with clock.stage("measure"):
                return lot_results(lots, scene, masks, self.lines)
        except Exception as error:  # masks that make no sense; the other chips go on
            why = segmenter_failed(self.segmenter, error)
            return [why for _ in lots]

    def _check(self, labels: Sequence[Label]) -> None:
        known = self.segmenter.labels
        for label in labels:
            if known is not None and label.name not in known:
                raise LabelError(
                    f"the segmenter {self.segmenter.name} does not find {label.name!r}: choose "
                    f"from {', '.join(known)}, or another segmenter"
                )


def _refusal(unseen: Sequence[Unseen], *, partly: bool) -> LotResult | None:
    """Why lots have no result of chips some of which were not seen; None where they do.

    Where no imagery is, a lot is only partly imaged. But what a server or a segmenter did not say
    may be half a lawn.
    """
    order = ("unavailable", "failed", "corrupt", "nodata", "missing")
    reasons = [each.why for each in unseen if each.why.status != "no_imagery" or not partly]
    if not reasons:
        return None
    return min(
        reasons,
        key=lambda why: order.index(why.reason if why.status == "no_imagery" else why.status),
    )


def _swept(plans: Sequence[ChipPlan]) -> list[ChipPlan]:
    """In the order of a sweep over each frame, along its longer side.

    So the masks that wait for a chip that overlaps theirs are those of the shorter side.
    """
    frames: dict[Frame, list[ChipPlan]] = {}
    for plan in plans:
        frames.setdefault(plan.frame, []).append(plan)
    swept: list[ChipPlan] = []
    for mine in frames.values():
        all_of = union(plan.windows[0] for plan in mine)
        wide = all_of.width > all_of.height
        swept += sorted(
            mine,
            key=lambda plan: (
                (plan.windows[0].column, plan.windows[0].row) if wide
                else (plan.windows[0].row, plan.windows[0].column)
            ),
        )  # fmt: skip
    return swept


class _Waiting:
    """Plans that wait for their chips. A chip is held until the last plan that needs it."""

    def __init__(self, plans: Sequence[ChipPlan]) -> None:
        self._looks: dict[Place, Seen | Unseen] = {}
        self._of_place: dict[Place, list[ChipPlan]] = {}
        for plan in plans:
            for window in plan.windows:
                self._of_place.setdefault((plan.frame, window), []).append(plan)

    def places(self) -> list[Place]:
        """All chips, in the order in which the plans need them."""
        return list(self._of_place)

    def ready(
        self, place: Place, looked: Seen | Unseen
    ) -> list[tuple[ChipPlan, dict[PixelWindow, Seen | Unseen]]]:
        """The plans that waited for this chip alone, each with what was seen of its chips."""
        self._looks[place] = looked
        complete = []
        for plan in list(self._of_place[place]):
            places = [(plan.frame, window) for window in plan.windows]
            if all(each in self._looks for each in places):
                complete.append((plan, {each[1]: self._looks[each] for each in places}))
                for each in places:
                    self._of_place[each].remove(plan)
        for each in [each for each in self._looks if not self._of_place[each]]:
            del self._looks[each]
        return complete
