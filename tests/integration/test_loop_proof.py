"""The loop's proof in miniature: two corrected lots, two steps, judged, kept and not repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.loop.report import draw_curves, rows_of, table
from benchmarks.loop.runs import BASE, RunResults, TrainingLength
from benchmarks.loop.shifted import ShiftedCounty, ShiftedSizes
from pipeline.learning.judging.lot_answers import LotAnswer

pytestmark = pytest.mark.long


def test_a_run_is_trained_judged_and_kept(tmp_path: Path) -> None:
    sizes = ShiftedSizes(doses=(2,), validation=1, test=2, rehearsal=1, old=1)
    county = ShiftedCounty(tmp_path, sizes)
    messages: list[str] = []
    results = RunResults(tmp_path, messages.append)
    by = county.judged_by()
    base = results.judge_base(by)
    run = county.run(2)
    assert (run.name, run.words, run.rehearsal is not None) == ("heads-2", True, True)
    length = TrainingLength(steps=2, batch=2, views=1, autocast="none")
    judged = results.run(run, length, by)
    assert [each.name for each in judged.lots] == [each.name for each in base.lots]
    assert judged.lots[0].labels["lawn"].true_m2 == base.lots[0].labels["lawn"].true_m2
    before = len(messages)
    again = RunResults(tmp_path, messages.append).run(run, length, by)
    assert len(messages) == before, "what is finished is not repeated"
    assert [_numbers(each) for each in again.lots] == [_numbers(each) for each in judged.lots]

    turns = county.turns(results)
    assert [(row["turn"], row["learned_from"], row["lots"]) for row in turns] == [
        (1, 0, 2),
        (2, 2, 2),
    ]
    assert turns[0]["loop"] == turns[0]["base"]
    rows = rows_of(tmp_path)
    assert [row.name for row in rows] == [BASE, "heads-2"]
    assert "too few lots" in rows[1].verdict
    assert len(table(rows)) == 4
    draw_curves(tmp_path, rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def _numbers(answer: LotAnswer) -> dict[str, tuple[float, ...]]:
    return {
        name: (each.true_m2, each.found_m2, each.both_m2, each.presence)
        for name, each in answer.labels.items()
    }


def test_what_is_left_out_is_in_the_name(tmp_path: Path) -> None:
    sizes = ShiftedSizes(doses=(1,), validation=1, test=1, rehearsal=1, old=1)
    run = ShiftedCounty(tmp_path, sizes).run(1, "mask", "positives only")
    assert (run.name, run.words, run.rehearsal) == ("mask-1-positives-only", False, None)
