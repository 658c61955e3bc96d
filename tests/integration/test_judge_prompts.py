"""A segmenter with prompts is judged by prompts that it was not taught, and gets its thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from judgedpairs import ReviewedCounty

from detection.chip import Chip
from detection.evaluation.segmenter_answers import RepeatedChips
from detection.labels import LABELS, Label
from detection.segmenters import build_segmenter
from detection.segmenters.calibrated_scores import CalibratedScores, with_thresholds
from detection.segmenters.interface import Mask, PromptableSegmenter, Segmenter
from pipeline.learning.judging.gate_settings import GateSettings
from pipeline.learning.judging.judged_lots import LotPairs, lots_of_split, open_lot
from pipeline.learning.judging.lot_answers import answer_lots, judged_labels
from pipeline.learning.judging.prompt_checks import OTHER_WORDS, answer_prompts, prompt_rows
from pipeline.learning.judging.score_thresholds import chosen_thresholds
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects

STRICT = 0.99999


@pytest.fixture(scope="module")
def tiny() -> Segmenter:
    return build_segmenter("sam3-tiny")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[ObjectStore, list[LotPairs]]:
    """Six lots on one chip."""
    folder = tmp_path_factory.mktemp("prompts")
    county = ReviewedCounty.generate(folder, 6, segmenter="sam3-tiny-1")
    objects = open_objects(str(folder / "pairs"))
    return objects, lots_of_split(objects, county.export(objects), "test")


def labels_of(lots: Sequence[LotPairs], names: Sequence[str]) -> list[Label]:
    pairs = [pair for lot in lots for pair in lot.pairs]
    return [label for label in judged_labels(pairs, None, {}) if label.name in names]


class OneWeighsAll(CalibratedScores):
    """A segmenter that finds everything everywhere, as after a training on positives alone."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        found = super().segment(chips, [replace(LABELS["lawn"], score_threshold=0.01)])
        return [
            [
                replace(mask, label=label)
                for label in labels
                for mask in masks
                if label.kind == "continuous"
            ]
            for masks in found
        ]


def test_alarms_at_absent_prompts_and_untrained_words(
    tiny: Segmenter, place: tuple[ObjectStore, list[LotPairs]]
) -> None:
    objects, lots = place
    labels = labels_of(lots, ["lawn"])
    trained = [OTHER_WORDS["lawn"][0]]
    own = answer_prompts(objects, lots, RepeatedChips(tiny), labels, trained)
    spoilt = answer_prompts(
        objects, lots, RepeatedChips(OneWeighsAll(tiny, {})), labels, trained
    )  # fmt: skip
    assert {each.alarms[1] for each in own} == {8}
    assert sum(each.alarms[0] for each in own) < sum(each.alarms[0] for each in spoilt)
    assert all(sum(each.counts) > 0 for each in spoilt)
    rows = {row.label: row for row in prompt_rows(own, spoilt, GateSettings())}
    assert rows["absent prompts"].verdict == "worse"
    assert "untrained prompts" in rows
    back = {row.label: row for row in prompt_rows(spoilt, own, GateSettings())}
    assert back["absent prompts"].verdict in ("better", "not worse")


def test_thresholds_are_chosen_on_the_lots_and_belong_to_the_weights(
    tiny: Segmenter, place: tuple[ObjectStore, list[LotPairs]]
) -> None:
    objects, lots = place
    labels = labels_of(lots, ["roof"])
    # As if training had moved the scores: what counted before is below the default now.
    strict = [replace(label, score_threshold=STRICT) for label in labels]
    chosen = chosen_thresholds(objects, lots, RepeatedChips(tiny), strict)
    assert chosen["roof"] <= 0.7
    before = answer_lots(objects, lots, RepeatedChips(tiny), strict)
    fitting = [replace(label, score_threshold=chosen["roof"]) for label in labels]
    after = answer_lots(objects, lots, RepeatedChips(tiny), fitting)
    errors = [sum(each.labels["roof"].error_m2 for each in side) for side in (before, after)]
    assert errors[1] < errors[0]
    # What a batch uses: the label's default gives way, a county's own threshold does not.
    chip = next(iter(open_lot(objects, lots[0]).chips.values()))
    calibrated = with_thresholds(tiny, {"roof": STRICT})
    assert isinstance(calibrated, PromptableSegmenter)
    [own], [fewer] = tiny.segment([chip], strict), calibrated.segment([chip], labels)
    assert len(own) == len(fewer)
    assert {mask.label for mask in fewer} == set(labels)
    county = [replace(label, score_threshold=0.3) for label in labels]
    assert len(calibrated.segment([chip], county)[0]) == len(tiny.segment([chip], county)[0])
    assert with_thresholds(tiny, {}) is tiny


def test_landcover_has_no_thresholds(place: tuple[ObjectStore, list[LotPairs]]) -> None:
    objects, lots = place
    landcover = build_segmenter("landcover")
    assert chosen_thresholds(objects, lots, landcover, labels_of(lots, ["roof"])) == {}
    assert with_thresholds(landcover, {"roof": 0.3}) is landcover
