"""The gate: what passes, what is refused, and when there is no decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pytest

from detection.errors import TrainingError
from detection.evaluation.concept_f1 import concept_f1, matthews
from detection.evaluation.instances import WindowObjects, match_objects
from pipeline.errors import ModelError
from pipeline.learning.judging.gate import AREA, IOU, TARGET, GateResult, GateRow, gate
from pipeline.learning.judging.gate_settings import GateSettings, gate_settings
from pipeline.learning.judging.gate_table import gate_table
from pipeline.learning.judging.lot_answers import LabelOnLot, LotAnswer

LOTS = 40
Found = Callable[[int], tuple[float, float]]


def on_lot(true_m2: float, found_m2: float) -> LabelOnLot:
    return LabelOnLot(true_m2, found_m2, min(true_m2, found_m2), 0.9 if found_m2 else 0.0)


def answers(found: Mapping[str, Found], lots: int = LOTS, in_block: int = 2) -> list[LotAnswer]:
    """`found` gives the true and the found area of each label on a lot."""
    return [
        LotAnswer(
            f"lot {number}",
            f"{number // in_block}/0",
            {label: on_lot(*areas(number)) for label, areas in found.items()},
        )
        for number in range(lots)
    ]


def lawn(error_m2: float, noise_m2: float = 4.0) -> Found:
    return lambda number: (200.0, 200.0 - error_m2 + noise_m2 * np.sin(number * 1.7))


def pool(found_share: float) -> Found:
    return lambda number: (30.0, 30.0 * found_share) if number % 4 == 0 else (0.0, 0.0)


def row_of(result: GateResult, label: str, measure: str = AREA) -> GateRow:
    [row] = [each for each in result.rows if (each.label, each.measure) == (label, measure)]
    return row


def decided(
    champion: Mapping[str, Found], candidate: Mapping[str, Found], **settings: float
) -> GateResult:
    return gate(answers(champion), answers(candidate), GateSettings(**settings))  # type: ignore[arg-type]


def test_a_certain_improvement_without_harm_passes() -> None:
    result = decided({"lawn": lawn(40), "pool": pool(1)}, {"lawn": lawn(15), "pool": pool(1)})
    assert result.verdict == "passed"
    target = row_of(result, TARGET)
    assert target.verdict == "better"
    assert target.difference == pytest.approx(-25, abs=2)
    assert target.low is not None
    assert target.high is not None
    assert target.low <= target.difference <= target.high < 0
    assert "falls from 39.9 to 14.9 m² a lot" in result.sentence


def test_one_label_that_is_lost_refuses_whatever_the_others_gain() -> None:
    result = decided({"lawn": lawn(40), "pool": pool(1)}, {"lawn": lawn(5), "pool": pool(0)})
    assert row_of(result, TARGET).verdict == "better"
    assert result.verdict == "refused"
    assert row_of(result, "pool").verdict == "worse"
    assert row_of(result, "pool", IOU).candidate == 0
    assert "pool is worse than tolerated" in result.sentence


def test_the_right_area_in_the_wrong_place_is_worse() -> None:
    right = answers({"lawn": lawn(40)})
    moved = [
        LotAnswer(a.name, a.block, {"lawn": LabelOnLot(200.0, 200.0, 40.0, 0.9)}) for a in right
    ]
    result = gate(right, moved, GateSettings())
    assert row_of(result, "lawn").verdict == "better"
    assert row_of(result, "lawn", IOU).verdict == "worse"
    assert result.verdict == "refused"


def test_an_improvement_that_may_be_chance_does_not_pass() -> None:
    def noisy(shift: float) -> Found:
        return lambda number: (200.0, 160.0 + shift + 60 * np.sin(number * 2.3 + shift))

    result = decided({"lawn": noisy(0)}, {"lawn": noisy(1)}, iou_tolerance=1.0, area_tolerance=1.0)
    assert result.verdict == "refused"
    assert "does not fall for certain" in result.sentence


def test_the_same_answers_do_not_pass() -> None:
    result = decided({"lawn": lawn(10)}, {"lawn": lawn(10)})
    assert result.verdict == "refused"
    assert row_of(result, TARGET).verdict == "not better"


@pytest.mark.parametrize(("lots", "in_block"), [(10, 1), (40, 20)])
def test_too_few_lots_or_blocks_decide_nothing(lots: int, in_block: int) -> None:
    result = gate(
        answers({"lawn": lawn(90)}, lots, in_block),
        answers({"lawn": lawn(1)}, lots, in_block),
        GateSettings(),
    )
    assert result.verdict == "too_few"
    assert f"{lots} reviewed lots in {lots // in_block} blocks" in result.sentence


def test_a_label_that_few_lots_were_reviewed_for_decides_nothing() -> None:
    def with_some_pools(found: list[LotAnswer]) -> list[LotAnswer]:
        return [
            LotAnswer(
                each.name, each.block,
                each.labels if number < 6 else {"lawn": each.labels["lawn"]},
            )
            for number, each in enumerate(found)
        ]  # fmt: skip

    result = gate(
        with_some_pools(answers({"lawn": lawn(40), "pool": pool(1)})),
        with_some_pools(answers({"lawn": lawn(5), "pool": pool(1)})),
        GateSettings(),
    )
    assert result.verdict == "too_few"
    assert row_of(result, "pool").verdict == "too few lots"
    assert "about pool" in result.sentence


def test_the_iou_of_a_label_on_a_few_lots_is_shown_and_not_judged() -> None:
    def rare(share: float) -> Found:
        return lambda number: (30.0, 30.0 * share) if number < 3 else (0.0, 0.0)

    result = decided({"lawn": lawn(40), "pool": rare(1)}, {"lawn": lawn(5), "pool": rare(0.9)})
    assert row_of(result, "pool", IOU).verdict == "not judged"
    assert result.verdict == "passed"
    # Without one of them its area error says so.
    lost = decided({"lawn": lawn(40), "pool": rare(1)}, {"lawn": lawn(5), "pool": rare(0)})
    assert lost.verdict == "refused"


def test_ground_of_two_labels_counts_once_in_the_target() -> None:
    both = {"lawn": lawn(40), "vegetation": lawn(40)}
    result = decided(both, {"lawn": lawn(10), "vegetation": lawn(10)})
    assert row_of(result, TARGET).champion == row_of(result, "lawn").champion


def test_a_further_row_that_is_worse_refuses() -> None:
    row = GateRow("traced windows", "mean IoU", 0.8, 0.7, -0.1, -0.2, -0.05, 0.01, "worse", 9)
    result = gate(
        answers({"lawn": lawn(40)}), answers({"lawn": lawn(5)}), GateSettings(), [row]
    )  # fmt: skip
    assert result.verdict == "refused"
    assert "mean IoU of traced windows 0.80 -> 0.70" in result.sentence


def test_the_table_has_a_line_for_each_row_in_columns() -> None:
    result = decided({"lawn": lawn(40), "pool": pool(1)}, {"lawn": lawn(5), "pool": pool(0)})
    lines = gate_table([asdict(row) for row in result.rows])
    assert len(lines) == 2 + len(result.rows)
    assert lines[0].split()[:2] == ["label", "measure"]
    assert lines[2].startswith("all labels  area error, m²/lot")
    assert "must fall" in lines[2]
    end = lines[0].index("verdict")
    assert [line[end:] for line in lines[2:]] == [row.verdict for row in result.rows]


def test_settings_are_checked() -> None:
    assert gate_settings({"min_lots": "10"}).min_lots == 10
    with pytest.raises(TrainingError, match="did you mean min_lots"):
        gate_settings({"min_lot": "10"})
    with pytest.raises(ModelError, match="at least 2"):
        gate_settings({"min_blocks": "1"})
    with pytest.raises(ModelError, match="0 or more"):
        gate_settings({"iou_tolerance": "-1"})


def square(side: int, at: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((20, 20), bool)
    mask[at : at + side, at : at + side] = True
    return mask


def image(truths: Sequence[int], found: Sequence[int]) -> WindowObjects:
    sides = [square(side) for side in truths], [square(side) for side in found]
    return WindowObjects(sides[0], sides[1], [0.9] * len(found), match_objects(*sides))


def test_cgf1_wants_objects_and_their_absence() -> None:
    perfect = concept_f1([image([10], [10]), image([], [])])
    assert perfect.score == pytest.approx(100)
    everywhere = concept_f1([image([10], [10]), image([], [10])])
    assert everywhere.positive_f1 == pytest.approx(1)
    assert everywhere.score == 0
    assert concept_f1([image([10], [10])]).score is None  # nothing is absent
    # 64 of 100 px: right at IoU 0.5, 0.55 and 0.6 of ten thresholds.
    assert concept_f1([image([10], [8]), image([], [])]).score == pytest.approx(30)
    assert matthews(np.array([True, False]), np.array([False, True])) == -1
