"""The figures of the dashboard: seconds a review with their interval, and calibration of scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.store.reads.review_pace import MIN_REVIEWS, MIN_SESSIONS, seconds_a_review
from pipeline.store.reads.score_calibration import score_calibration
from pipeline.store.reviews.audit_results import AuditedItem
from pipeline.store.reviews.audit_statistics import AuditVerdict, wilson


def test_seconds_a_review_are_those_of_all_sessions_together() -> None:
    pace = seconds_a_review([(10, 100.0), (20, 100.0), (30, 400.0)])
    assert pace is not None
    assert pace.estimate == pytest.approx(10.0)
    assert 0 < pace.low < 10 < pace.high


def test_sessions_that_are_alike_leave_no_doubt_and_few_that_differ_leave_much() -> None:
    alike = seconds_a_review([(20, 200.0)] * 5)
    few = seconds_a_review([(20, 100.0), (20, 300.0), (20, 200.0)])
    many = seconds_a_review([(20, 100.0), (20, 300.0), (20, 200.0)] * 10)
    assert alike is not None
    assert few is not None
    assert many is not None
    assert alike.low == alike.high == pytest.approx(10.0)
    assert few.high / few.low > 2 * many.high / many.low


@pytest.mark.parametrize(
    "sessions",
    [[], [(1_000, 5_000.0)], [(14, 60.0)] * 2, [(1, 9.0)] * (MIN_REVIEWS - 1)],
)
def test_too_little_is_no_pace(sessions: list[tuple[int, float]]) -> None:
    assert seconds_a_review(sessions) is None


def test_enough_is_a_pace() -> None:
    assert seconds_a_review([(MIN_REVIEWS // MIN_SESSIONS, 60.0)] * MIN_SESSIONS) is not None


def test_the_interval_of_the_pace_covers_the_truth() -> None:
    """Sessions of different lengths and speeds: about 95 % of the intervals have the true pace."""
    rng = np.random.default_rng(5)
    covered, rounds = 0, 2_000
    for _ in range(rounds):
        reviews = rng.integers(5, 60, 12)
        # A session's speed varies by a fifth, a review's time by itself too.
        speeds = 10 * rng.gamma(25, 1 / 25, 12)
        seconds = reviews * speeds
        pace = seconds_a_review(list(zip(reviews.tolist(), seconds.tolist(), strict=True)))
        assert pace is not None
        covered += pace.low <= 10 <= pace.high
    assert 0.91 <= covered / rounds <= 0.98


def _item(score: float, verdict: AuditVerdict | None, **more: Any) -> AuditedItem:
    values: dict[str, Any] = {
        "label": "lawn", "source": "lot", "stratum_count": 100, "area_m2": 5.0,
        "needs_second": False, **more,
    }  # fmt: skip
    answers = () if verdict is None else ((verdict, None),)
    return AuditedItem(score=score, answers=answers, **values)


def test_bins_have_the_share_that_is_right_with_wilsons_interval() -> None:
    items = [_item(0.75, "correct")] * 6 + [_item(0.71, "outline")] * 2 + [_item(0.79, "wrong")] * 2
    items += [_item(1.0, "correct"), _item(0.05, "label"), _item(0.3, "unsure"), _item(0.3, None)]
    bins = score_calibration(items)
    assert [each.decided for each in bins] == [1, 0, 0, 0, 0, 0, 0, 10, 0, 1]
    seventies = bins[7]
    assert (seventies.low, seventies.high) == (0.7, 0.8)
    assert seventies.mean_score == pytest.approx((6 * 0.75 + 2 * 0.71 + 2 * 0.79) / 10)
    expected = wilson(8, 10)
    assert seventies.correct.estimate == pytest.approx(0.8)
    assert seventies.correct.low == pytest.approx(expected.low)
    assert seventies.correct.high == pytest.approx(expected.high)
    assert bins[0].correct.estimate == 0.0
    assert (bins[1].mean_score, bins[1].correct.estimate) == (None, None)


def test_an_item_stands_for_its_part_of_the_county_and_not_for_itself() -> None:
    common = [_item(0.55, "correct", stratum_count=900)] * 10
    rare = [_item(0.55, "wrong", label="pool", stratum_count=100)] * 10
    [fifties] = [each for each in score_calibration(common + rare) if each.decided]
    assert fifties.decided == 20
    assert fifties.correct.estimate == pytest.approx(0.9)
    # Unequal weights say less than 20 equal ones would.
    n = 1000**2 / (10 * 90**2 + 10 * 10**2)
    assert math.isclose(n, 12.195, rel_tol=1e-3)
    equal = wilson(18, 20)
    assert fifties.correct.high - fifties.correct.low > equal.high - equal.low
