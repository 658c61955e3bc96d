"""Duration histograms and stage timers: quantiles, constant size, merging."""

from __future__ import annotations

import numpy as np
import pytest

from detection.timing import DurationHistogram, StageTimer


def _spread(seconds: np.ndarray) -> DurationHistogram:
    spread = DurationHistogram()
    for each in seconds:
        spread.record(float(each))
    return spread


def test_quantiles_are_close_and_the_maximum_is_exact() -> None:
    seconds = np.random.default_rng(1).lognormal(-5, 2, 20_000)
    spread = _spread(seconds)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        true_s = np.quantile(seconds, share, method="inverted_cdf")
        assert spread.quantile_s(share) == pytest.approx(true_s, rel=0.046)
    assert spread.quantile_s(1.0) == spread.longest_s == seconds.max()
    assert spread.seconds == pytest.approx(seconds.sum())
    assert len(spread.buckets) < 300


def test_merged_histograms_equal_one_of_all_calls() -> None:
    seconds = np.random.default_rng(2).exponential(0.1, 900)
    added = DurationHistogram()
    for part in np.split(seconds, 3):
        added.add(_spread(part))
    whole = _spread(seconds)
    assert added.buckets == whole.buckets
    assert (added.calls, added.longest_s) == (whole.calls, whole.longest_s)


def test_empty_and_zero_durations() -> None:
    assert DurationHistogram().quantile_s(0.5) == 0.0
    assert _spread(np.zeros(3)).quantile_s(0.99) == 0.0


def test_timers_are_merged_by_stage() -> None:
    one, other = StageTimer(), StageTimer()
    for clock, stages in ((one, ("read", "segment")), (other, ("read", "write"))):
        for stage in stages:
            with clock.stage(stage):
                pass
    one.add(other)
    assert one.calls == {"read": 2, "segment": 1, "write": 1}
    assert other.calls == {"read": 1, "write": 1}
