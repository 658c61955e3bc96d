"""The gate: candidate and champion side by side on the same lots, and whether the candidate passes.

It passes if the area error over all labels falls for certain (the interval of the paired bootstrap
over blocks excludes zero), and no row is worse by more than its tolerance. With too few lots there
is no decision, which is not a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.bootstrap import Estimate, bootstrap
from detection.labels import LABELS
from pipeline.learning.judging.gate_settings import GateSettings
from pipeline.learning.judging.lot_answers import LotAnswer
from pipeline.plurals import count_of
from pipeline.store.models.judgements import GateVerdict

RowVerdict = Literal["better", "not worse", "worse", "not better", "not judged", "too few lots"]
TARGET = "all labels"
AREA, IOU = "area error, m²/lot", "IoU"

# Labels that the sentence names with figures.
_NAMED = 3

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GateRow:
    """A line of the gate's table.

    Attributes:
        champion, candidate: None where there is no truth to compare with.
        difference: candidate less champion, with its interval; None bounds without one.
        tolerance: how much worse the candidate may be; None of the target, which must improve.
        lots: that the row is about.
    """

    label: str
    measure: str
    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    tolerance: float | None
    verdict: RowVerdict
    lots: int


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict, with its table and its reason."""

    verdict: GateVerdict
    sentence: str
    rows: tuple[GateRow, ...]


def gate(
    champion: Sequence[LotAnswer],
    candidate: Sequence[LotAnswer],
    settings: GateSettings,
    further: Sequence[GateRow] = (),
) -> GateResult:
    """Compare two models on the same lots, in the same order.

    Args:
        further: rows of other checks (traced windows, prompts), which must not be worse either.
    """
    labels = list(dict.fromkeys(name for each in candidate for name in each.labels))
    rows = [
        row
        for name in labels
        for row in _label_rows(
            name,
            [(a, b) for a, b in zip(champion, candidate, strict=True) if name in b.labels],
            settings,
        )
    ]
    target = _target_row(champion, candidate, labels)
    every = (target, *rows, *further)
    lots = [each for each in candidate if each.labels]
    verdict, sentence = _decided(every, len(lots), len({each.block for each in lots}), settings)
    return GateResult(verdict, sentence, every)


def paired_row(
    label: str,
    measure: str,
    observations: tuple[_Floats, _Floats],
    clusters: Sequence[str],
    statistic: Callable[[_Floats], _Floats],
    tolerance: float | None,
    *,
    is_less_better: bool,
) -> GateRow:
    """A row of two models that were observed on the same lots or windows.

    Args:
        observations: of champion and candidate, (n, k) each.
        clusters: (n,) what is drawn together, such as the block.
        statistic: sums (r, k) -> values (r,).
        tolerance: None of the target.
    """
    both = np.concatenate(observations, axis=1)
    columns = observations[0].shape[1]

    def difference(sums: _Floats) -> _Floats:
        return statistic(sums[:, columns:]) - statistic(sums[:, :columns])

    values = [
        None if np.isnan(value) else float(value)
        for value in (statistic(each.sum(0, keepdims=True))[0] for each in observations)
    ]
    found = bootstrap(both, clusters, difference)
    verdict = _row_verdict(found, tolerance, is_less_better=is_less_better)
    return GateRow(
        label, measure, values[0], values[1],
        found.value if found else None, found.low if found else None, found.high if found else None,
        tolerance, verdict, len(clusters),
    )  # fmt: skip


def iou_of(sums: _Floats) -> _Floats:
    """(r,) from (r, 3) true positives, false positives, false negatives; NaN without truth."""
    true = sums[:, 0] + sums[:, 2]
    return np.where(true > 0, sums[:, 0] / np.maximum(sums.sum(1), 1e-9), np.nan)


def mean_of(sums: _Floats) -> _Floats:
    """(r,) from (r, 2) a sum and how many were summed."""
    return sums[:, 0] / np.maximum(sums[:, 1], 1)


def _label_rows(
    name: str, pairs: Sequence[tuple[LotAnswer, LotAnswer]], settings: GateSettings
) -> list[GateRow]:
    blocks = [candidate.block for _, candidate in pairs]
    sides = [[each[side].labels[name] for each in pairs] for side in (0, 1)]
    mean_true_m2 = float(np.mean([each.true_m2 for each in sides[0]]))
    tolerance = max(settings.area_tolerance * mean_true_m2, settings.area_tolerance_m2)
    errors, counts = (
        [
            np.array([columns(each) for each in side], float)
            for side in sides
        ]
        for columns in (lambda each: (each.error_m2, 1.0), lambda each: each.counts)
    )  # fmt: skip
    rows = [
        paired_row(
            name, AREA, (errors[0], errors[1]), blocks, mean_of, tolerance, is_less_better=True
        )
    ]
    lots_with = sum(each.true_m2 > 0 for each in sides[0])
    if lots_with:
        overlap = paired_row(
            name, IOU, (counts[0], counts[1]), blocks, iou_of, settings.iou_tolerance,
            is_less_better=False,
        )  # fmt: skip
        is_chance = lots_with < settings.min_lots_with_label
        rows.append(replace(overlap, verdict="not judged") if is_chance else overlap)
    is_few = len(pairs) < settings.min_lots or len(set(blocks)) < settings.min_blocks
    return [replace(row, verdict="too few lots") for row in rows] if is_few else rows


def _target_row(
    champion: Sequence[LotAnswer], candidate: Sequence[LotAnswer], labels: Sequence[str]
) -> GateRow:
    """The area errors of all labels together; ground of two labels counts once."""
    containing = {n for n in labels if n in LABELS and set(LABELS[n].contains) & set(labels)}
    kept = [name for name in labels if name not in containing]
    lots = [i for i, each in enumerate(candidate) if any(n in each.labels for n in kept)]

    def errors(answers: Sequence[LotAnswer]) -> _Floats:
        return np.array(
            [
                (sum(each.labels[n].error_m2 for n in kept if n in each.labels), 1.0)
                for each in (answers[i] for i in lots)
            ],
            float,
        ).reshape(-1, 2)

    if not lots:
        return GateRow(TARGET, AREA, None, None, None, None, None, None, "too few lots", 0)
    blocks = [candidate[i].block for i in lots]
    return paired_row(
        TARGET, AREA, (errors(champion), errors(candidate)), blocks, mean_of, None,
        is_less_better=True,
    )  # fmt: skip


def _row_verdict(
    found: Estimate | None, tolerance: float | None, *, is_less_better: bool
) -> RowVerdict:
    if found is None:
        return "not worse"  # neither has anything to be wrong about
    sign = -1.0 if is_less_better else 1.0
    if tolerance is not None and sign * found.value < -tolerance:
        return "worse"
    bounds = [bound for bound in (found.low, found.high) if bound is not None]
    is_certain = len(bounds) == 2 and min(sign * bound for bound in bounds) > 0
    if is_certain:
        return "better"
    return "not worse" if tolerance is not None else "not better"


def _decided(
    rows: Sequence[GateRow], lots: int, blocks: int, settings: GateSettings
) -> tuple[GateVerdict, str]:
    target = rows[0]
    if lots < settings.min_lots or blocks < settings.min_blocks:
        return "too_few", (
            f"too few lots to decide: the test has {count_of(lots, 'reviewed lots')} in "
            f"{count_of(blocks, 'blocks')} of ground, and the gate needs {settings.min_lots} in "
            f"{settings.min_blocks}. Review more lots in other places, or audit some"
        )
    worse = [row for row in rows if row.verdict == "worse"]
    if worse:
        return "refused", f"refused: {_named(worse)}"
    few = list(dict.fromkeys(row.label for row in rows if row.verdict == "too few lots"))
    if few:
        return "too_few", (
            f"too few lots to decide about {', '.join(few)}: the gate needs {settings.min_lots} "
            f"lots in {settings.min_blocks} blocks where each was reviewed in full"
        )
    change = f"from {target.champion:.1f} to {target.candidate:.1f} m² a lot"
    interval = (
        "no interval"
        if target.low is None or target.high is None
        else f"95 % interval of the difference {target.low:+.1f} to {target.high:+.1f}"
    )
    if target.verdict != "better":
        return "refused", (
            f"refused: no label is worse, but the area error does not fall for certain: {change} "
            f"({interval})"
        )
    return "passed", f"passed: the area error falls {change} ({interval}), and no label is worse"


def _named(worse: Sequence[GateRow]) -> str:
    """Labels that are worse, each with its row that exceeds its tolerance most."""
    excess: dict[str, tuple[float, GateRow]] = {}
    for row in worse:
        times = abs(row.difference or 0.0) / max(row.tolerance or 0.0, 1e-9)
        if times > excess.get(row.label, (0.0, row))[0]:
            excess[row.label] = times, row
    parts = [
        f"{row.measure} of {row.label} {row.champion:.2f} -> {row.candidate:.2f}"
        for _, row in sorted(excess.values(), key=lambda pair: -pair[0])
    ]
    more = f", and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    verb = "is" if len(parts) == 1 else "are"
    return f"{', '.join(excess)} {verb} worse than tolerated ({', '.join(parts[:_NAMED])}{more})"
