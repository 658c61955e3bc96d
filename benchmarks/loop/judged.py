"""What weights answer on held-out lots, on imagery of before, and on other prompts; as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loop.known_lots import SEGMENTER, KnownLot, export_lots
from benchmarks.loop.reviewer import Effort, review
from detection.evaluation.evaluate import Evaluation
from detection.evaluation.segmenter_answers import RepeatedChips
from detection.labels import Label
from detection.segmenters import build_segmenter
from detection.segmenters.interface import Segmenter
from pipeline.learning.judging.judged_lots import LotPairs, lots_of_split, open_lot
from pipeline.learning.judging.label_figures import label_figures
from pipeline.learning.judging.lot_answers import (
    LabelOnLot,
    LotAnswer,
    answer_lots,
    detect_on_lot,
    judged_labels,
)
from pipeline.learning.judging.prompt_checks import PromptAnswer, answer_prompts
from pipeline.learning.judging.score_thresholds import chosen_thresholds
from pipeline.learning.judging.traced_check import TracedCounts, answer_traced, traced_figures
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects


@dataclass(frozen=True, slots=True)
class JudgedGround:
    """Exported lots that judge.

    Attributes:
        known: by the lots' names.
    """

    objects: ObjectStore
    lots: Sequence[LotPairs]
    known: Mapping[str, KnownLot]

    @classmethod
    def export(cls, folder: Path, lots: Sequence[KnownLot]) -> JudgedGround:
        """Write lots as pairs of the test."""
        objects = open_objects(str(folder))
        manifest = export_lots(objects, {"test": lots})
        known = {lot.name: lot for lot in lots}
        return cls(objects, lots_of_split(objects, manifest, "test"), known)

    def labels(self, thresholds: Mapping[str, float]) -> list[Label]:
        """All labels, with the prompts of the export."""
        pairs = [pair for lot in self.lots for pair in lot.pairs]
        return judged_labels(pairs, None, thresholds)


@dataclass(frozen=True, slots=True)
class JudgedWeights:
    """The answers of weights.

    Attributes:
        lots: held-out, of the corrected county.
        old: lots of a county that nobody corrects.
        traced: windows of real imagery.
        figures, old_figures: by label.
        thresholds: of scores, chosen on the validation.
    """

    lots: Sequence[LotAnswer]
    old: Sequence[LotAnswer] = ()
    prompts: Sequence[PromptAnswer] = ()
    traced: TracedCounts = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    old_figures: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def traced_iou(self) -> dict[str, float | None]:
        """By label, pooled over the windows."""
        return traced_figures(self.traced)

    def save(self, path: Path) -> None:
        """Write it all, but for the masks of objects, of which the figures stay."""
        content = {
            "lots": [_lot_document(each) for each in self.lots],
            "old": [_lot_document(each) for each in self.old],
            "prompts": [asdict(each) for each in self.prompts],
            "traced": self.traced,
            "figures": self.figures,
            "old_figures": self.old_figures,
            "thresholds": self.thresholds,
        }
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> JudgedWeights:
        """What `save` has written."""
        content = json.loads(path.read_text(encoding="utf-8"))
        prompts = [
            PromptAnswer(each["block"], tuple(each["alarms"]), tuple(each["counts"]))
            for each in content["prompts"]
        ]
        traced = {
            name: [(tile, tuple(counts)) for tile, counts in each]
            for name, each in content["traced"].items()
        }
        return cls(
            [_lot_answer(each) for each in content["lots"]],
            [_lot_answer(each) for each in content["old"]],
            prompts, traced, content["figures"], content["old_figures"], content["thresholds"],
        )  # fmt: skip


def segmenter_of(delta: Path | None) -> RepeatedChips:
    """sam3-nano with a delta, or as it is shipped."""
    return RepeatedChips(build_segmenter(SEGMENTER, None if delta is None else str(delta)))


def judge(
    segmenter: Segmenter,
    test: JudgedGround,
    *,
    validation: JudgedGround | None = None,
    old: JudgedGround | None = None,
    traced: Evaluation | None = None,
    with_prompts: bool = False,
) -> JudgedWeights:
    """The answers of a segmenter, by the code that a batch runs.

    Args:
        validation: lots by which score thresholds are chosen; None leaves those of labels.yaml.

    Raises:
        SegmenterError: it failed on a chip.
    """
    thresholds: Mapping[str, float] = {}
    if validation is not None:
        thresholds = chosen_thresholds(
            validation.objects, validation.lots, segmenter, validation.labels({})
        )
    labels = test.labels(thresholds)
    lots = answer_lots(test.objects, test.lots, segmenter, labels)
    before = answer_lots(old.objects, old.lots, segmenter, labels) if old else []
    prompts: list[PromptAnswer] = []
    if with_prompts:
        trained = [label.prompt for label in labels]
        prompts = answer_prompts(test.objects, test.lots, segmenter, labels, trained)
    windows = answer_traced(traced, segmenter) if traced else {}
    return JudgedWeights(
        lots, before, prompts, windows, label_figures(lots),
        label_figures(before) if before else {}, thresholds,
    )  # fmt: skip


def review_effort(
    segmenter: Segmenter, ground: JudgedGround, thresholds: Mapping[str, float]
) -> list[Effort]:
    """What the scripted reviewer needs on each lot to get from the proposals to the truth."""
    labels = ground.labels(thresholds)
    segmenter.prepare(labels)
    efforts = []
    for pairs in ground.lots:
        lot = open_lot(ground.objects, pairs)
        found = detect_on_lot(lot, segmenter, labels)
        truth = ground.known[lot.name].reviewed.objects
        grid, total = lot.plan.grid, Effort()
        for label in labels:
            own = [grid.from_lonlat(each.geometry) for each in found if each.label == label.name]
            true = [grid.from_lonlat(each.outline) for each in truth if each.label == label.name]
            total += review(own, true)[1]
        efforts.append(total)
    return efforts


def error_m2(answers: Sequence[LotAnswer]) -> float:
    """The mean over lots of the area errors of all labels, m²."""
    sums = [sum(each.error_m2 for each in answer.labels.values()) for answer in answers]
    return sum(sums) / max(1, len(sums))


def _lot_document(answer: LotAnswer) -> dict[str, Any]:
    labels = {
        name: [each.true_m2, each.found_m2, each.both_m2, each.presence]
        for name, each in answer.labels.items()
    }
    return {"name": answer.name, "block": answer.block, "labels": labels}


def _lot_answer(content: Mapping[str, Any]) -> LotAnswer:
    labels = {name: LabelOnLot(*numbers) for name, numbers in content["labels"].items()}
    return LotAnswer(content["name"], content["block"], labels)
