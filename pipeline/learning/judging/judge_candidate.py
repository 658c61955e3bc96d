"""Judges registered weights: the candidate, the champion and the base answer on the same lots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from detection.evaluation.evaluate import Evaluation
from detection.evaluation.segmenter_answers import RepeatedChips
from detection.segmenters.interface import Segmenter
from pipeline.errors import ManifestError, ModelError
from pipeline.learning.corrections_manifest import CorrectionsManifest, manifest_sha256
from pipeline.learning.judging.gate import GateRow, gate
from pipeline.learning.judging.gate_settings import GateSettings
from pipeline.learning.judging.judged_lots import LotPairs, lots_of_split
from pipeline.learning.judging.label_figures import label_figures
from pipeline.learning.judging.lot_answers import LotAnswer, answer_lots, judged_labels
from pipeline.learning.judging.prompt_checks import PromptAnswer, answer_prompts, prompt_rows
from pipeline.learning.judging.score_thresholds import chosen_thresholds
from pipeline.learning.judging.traced_check import (
    TracedCounts,
    answer_traced,
    traced_figures,
    traced_rows,
)
from pipeline.learning.judging.trained_ground import check_not_trained_on, training_manifest
from pipeline.learning.pair import Pair
from pipeline.store.models.judgements import JudgementFacts, champion_event
from pipeline.store.models.promoted_segmenter import build_promoted
from pipeline.store.models.versions import ModelFacts, ModelVersion, champion, models
from pipeline.store.models.weights_source import build_with
from pipeline.store.objects.folder_or_bucket import ObjectStore


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, and on what.

    Attributes:
        objects, manifest: of the corrections whose test judges.
        traced: windows of the first training's imagery; None without.
        cache: the folder of fetched weights.
    """

    model: ModelVersion
    objects: ObjectStore
    manifest: CorrectionsManifest
    gate: GateSettings
    cache: Path
    traced: Evaluation | None = None


@dataclass(frozen=True, slots=True)
class _Rival:
    """Weights that are judged: registered ones, or the segmenter's own (None)."""

    what: str
    facts: ModelFacts | None
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _RivalAnswers:
    weights_sha256: str
    thresholds: Mapping[str, float]
    lots: Sequence[LotAnswer]
    prompts: Sequence[PromptAnswer] | None
    traced: TracedCounts | None


def judge_candidate(
    engine: Engine,
    request: JudgeRequest,
    on_message: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> JudgementFacts:
    """Judge a registered model against the champion of now; stores nothing.

    Args:
        progress: gets what is done, how much of it, and how much there is.

    Raises:
        ModelError: the model is the champion, or learned from lots of the test.
        ManifestError: the manifest has no test, or a file of it is missing or damaged.
        ObjectStoreError: a file cannot be read.
        SegmenterError: one of the weights cannot be loaded, or failed on a chip.
    """
    facts = request.model.facts
    with engine.connect() as conn:
        event = champion_event(conn, facts.segmenter)
        now = champion(conn, facts.segmenter)
        kept = now.facts.thresholds if now else {}
        registered = models(conn, facts.segmenter)
    if now is not None and now.id == request.model.id:
        raise ModelError(f"model {now.id} is the champion: judge a candidate against it")
    _check_ground(request)
    judge = _Judge(request, on_message, progress)
    candidate = judge.answers(_Rival("the candidate", facts), chooses=True)
    best = judge.answers(_Rival("the champion", now.facts if now else None, kept))
    base = judge.base(facts.base_sha256, registered)
    further: list[GateRow] = []
    if candidate.prompts is not None and best.prompts is not None:
        further += prompt_rows(best.prompts, candidate.prompts, request.gate)
    if candidate.traced is not None and best.traced is not None:
        further += traced_rows(best.traced, candidate.traced, request.gate)
    result = gate(best.lots, candidate.lots, request.gate, further)
    figures = {"candidate": _figures(candidate), "champion": _figures(best)}
    if base is not None:
        figures["base"] = _figures(base)
    return JudgementFacts(
        result.verdict, result.sentence, event, best.weights_sha256, facts.base_sha256,
        manifest_sha256(request.manifest), asdict(request.gate),
        [asdict(row) for row in result.rows], figures, candidate.thresholds,
    )  # fmt: skip


def _check_ground(request: JudgeRequest) -> None:
    data_sha256 = request.model.facts.data_sha256
    if data_sha256 is not None:  # else it learned from no corrections
        trained = training_manifest(request.objects, data_sha256)
        check_not_trained_on(trained, request.manifest)


class _Judge:
    """Builds each rival once, lets it answer, and forgets it: only one is in memory."""

    def __init__(
        self,
        request: JudgeRequest,
        on_message: Callable[[str], None],
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._request, self._on_message, self._progress = request, on_message, progress
        objects, manifest = request.objects, request.manifest
        self._test = lots_of_split(objects, manifest, "test")
        self._validation = lots_of_split(objects, manifest, "validation")
        if not self._test:
            raise _no_test(objects.address)
        self._trained = sorted({
            mask.prompt
            for pair in manifest.of_split("train")
            for mask in pair.labels.values()
            if mask.prompt
        })  # fmt: skip
        self._known: dict[str, _RivalAnswers] = {}

    def answers(self, rival: _Rival, *, chooses: bool = False) -> _RivalAnswers:
        """All answers of a rival.

        Args:
            chooses: its thresholds, on the lots of the validation.
        """
        built = self._built(rival)
        sha256 = built.weights_sha256 or ""
        self._on_message(f"{rival.what} answers: {built.name} {sha256[:12]}")
        segmenter = RepeatedChips(built)
        thresholds = rival.thresholds
        if chooses:
            thresholds = self._chosen(segmenter, partial(self._progress, "score thresholds"))
        labels = judged_labels(_pairs(self._test), segmenter.labels, thresholds)
        objects = self._request.objects
        shown = partial(self._progress, rival.what)
        lots = answer_lots(objects, self._test, segmenter, labels, shown)
        prompts = None
        if segmenter.labels is None:
            prompts = answer_prompts(
                objects,
                self._test,
                segmenter,
                labels,
                self._trained,
                partial(self._progress, f"{rival.what}, other prompts"),
            )
        traced = self._request.traced
        found = _RivalAnswers(
            sha256, thresholds, lots, prompts,
            None if traced is None else answer_traced(traced, built),
        )  # fmt: skip
        self._known[sha256] = found
        return found

    def base(
        self,
        base_sha256: str | None,
        registered: Sequence[ModelVersion],
    ) -> _RivalAnswers | None:
        """The answers of what the training began with; None if its weights are not here."""
        if base_sha256 is None:
            return None
        if base_sha256 in self._known:
            return self._known[base_sha256]
        for each in registered:
            if each.facts.weights_sha256 == base_sha256:
                return self.answers(_Rival("the base", each.facts))
        own = self._built(_Rival("the base", None))
        if own.weights_sha256 == base_sha256:
            return self.answers(_Rival("the base", None))
        self._on_message(
            f"the base {base_sha256[:12]} is neither registered nor the segmenter's own: it is not "
            "judged"
        )
        return None

    def _chosen(
        self, segmenter: Segmenter, progress: Callable[[int, int], None]
    ) -> dict[str, float]:
        labels = judged_labels(_pairs(self._validation), segmenter.labels, {})
        return chosen_thresholds(
            self._request.objects, self._validation, segmenter, labels, progress
        )

    def _built(self, rival: _Rival) -> Segmenter:
        request = self._request
        if rival.facts is not None:
            return build_promoted(rival.facts, request.cache)
        return build_with(request.model.facts.segmenter, None)


def _pairs(lots: Sequence[LotPairs]) -> list[Pair]:
    return [pair for lot in lots for pair in lot.pairs]


def _no_test(address: str) -> ManifestError:
    return ManifestError(
        f"the manifest in {address} has no pair of the test: review lots in more places, audit "
        "some, or export with smaller blocks (--block-m)"
    )


def _figures(answers: _RivalAnswers) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "weights_sha256": answers.weights_sha256,
        "thresholds": dict(answers.thresholds),
        "lots": len(answers.lots),
        "labels": label_figures(answers.lots),
    }
    if answers.prompts is not None:
        figures["prompts"] = {
            "absent_asked": sum(each.alarms[1] for each in answers.prompts),
            "absent_reported": sum(each.alarms[0] for each in answers.prompts),
        }
    if answers.traced is not None:
        figures["traced_iou"] = traced_figures(answers.traced)
    return figures
