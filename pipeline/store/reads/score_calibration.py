"""Whether scores say how often detections are right: bins of scores against the audit's answers.

Only the audit says that: what people review elsewhere they choose, often by its score. An item
stands for as many detections as its stratum has for each of its decided items. Intervals are
Wilson's with Kish's effective sample size, (sum of weights)^2 / (sum of squared weights).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.store.reviews.audit_results import AuditedItem
from pipeline.store.reviews.audit_statistics import Interval, wilson_share

BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Detections with a score in a range.

    Attributes:
        low, high: of the score.
        decided: audited detections with an answer that is not unsure.
        mean_score: of them, weighted as `correct` is; None without any.
        correct: the share that is there and has the right label, with its 95 % interval.
    """

    low: float
    high: float
    decided: int
    mean_score: float | None
    correct: Interval


def score_calibration(items: Sequence[AuditedItem]) -> tuple[CalibrationBin, ...]:
    """The bins of the scores 0..1, each a tenth wide, from the items of an audit."""
    decided = [
        (item, found[0]) for item in items if (found := item.counted) and found[0] != "unsure"
    ]
    answered = Counter((item.label, item.source) for item, _ in decided)
    bins: dict[int, list[tuple[float, float, bool]]] = defaultdict(list)
    for item, verdict in decided:
        weight = item.stratum_count / answered[item.label, item.source]
        is_correct = verdict in ("correct", "outline")
        bins[min(int(item.score * BINS), BINS - 1)].append((weight, item.score, is_correct))
    return tuple(_bin(number, bins[number]) for number in range(BINS))


def _bin(number: int, members: Sequence[tuple[float, float, bool]]) -> CalibrationBin:
    low, high = number / BINS, (number + 1) / BINS
    if not members:
        return CalibrationBin(low, high, 0, None, Interval(None, 0.0, 1.0))
    total = math.fsum(weight for weight, _, _ in members)
    share = min(1.0, math.fsum(weight for weight, _, right in members if right) / total)
    effective = total**2 / math.fsum(weight**2 for weight, _, _ in members)
    score = math.fsum(weight * score for weight, score, _ in members) / total
    return CalibrationBin(low, high, len(members), score, wilson_share(share, effective))
