"""Error rates of the audit against known values, and intervals that are never too narrow."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.store.reviews.audit_statistics import (
    AuditVerdict,
    Interval,
    StratumAnswers,
    agreement,
    area_error,
    exactness,
    precision,
    wilson,
)


# scipy 1.17: binomtest(k, n).proportion_ci(method="wilson"); 81 of 263 is the example of
# R. G. Newcombe, Statistics in Medicine 17 (1998), table I: 0.2553, 0.3662.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.27753279986288926),
        (10, 10, 0.7224672001371109, 1.0),
        (7, 10, 0.39677814746114526, 0.892208732593699),
        (81, 263, 0.2552885198782742, 0.36620957698280004),
        (1, 1, 0.20654931437723745, 1.0),
        (48, 50, 0.8653990931249297, 0.9889611156723802),
    ],
)
def test_wilson_is_that_of_scipy(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert found.estimate == successes / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_without_answers_nothing_is_known() -> None:
    assert wilson(0, 0) == Interval(None, 0.0, 1.0)
    assert precision([]) == precision([StratumAnswers(10, unsure=4)]) == Interval(None, 0.0, 1.0)
    assert area_error([StratumAnswers(10)]) is None


def test_one_stratum_has_wilsons_interval() -> None:
    found = precision([StratumAnswers(5_000, correct=60, outline=21, wrong=182)])
    assert found.estimate == 81 / 263
    assert (found.low, found.high) == pytest.approx((0.25528851987, 0.36620957698))


def test_strata_count_by_their_share_of_the_county() -> None:
    many = StratumAnswers(9_000, correct=45, wrong=5)
    few = StratumAnswers(1_000, correct=10, outline=10, wrong=20, label=10)
    assert precision([many, few]).estimate == pytest.approx(0.9 * 0.9 + 0.1 * 0.4)
    assert exactness([many, few]).estimate == pytest.approx(0.9 * 0.9 + 0.1 * 0.2)
    assert precision([few, many]) == precision([many, few])


def test_unsure_is_neither_right_nor_wrong() -> None:
    sure = StratumAnswers(100, correct=8, wrong=2)
    assert precision([sure]) == precision([StratumAnswers(100, correct=8, wrong=2, unsure=90)])


def test_a_stratum_without_answers_widens_the_interval() -> None:
    known = StratumAnswers(600, correct=50)
    alone = precision([known])
    both = precision([known, StratumAnswers(400, unsure=3)])
    assert both.estimate == alone.estimate == 1.0
    assert both.low == pytest.approx(0.6 * alone.low)
    assert both.high == 1.0
    wrong = precision([StratumAnswers(600, wrong=50), StratumAnswers(400)])
    assert (wrong.low, wrong.high >= 0.4) == (0.0, True)


@pytest.mark.parametrize(
    ("populations", "sizes", "shares"),
    [
        ((1_000, 200, 50), (20, 20, 20), (0.9, 0.5, 0.7)),
        ((900, 100), (10, 10), (0.98, 0.6)),
        ((500, 500, 20), (5, 5, 5), (0.95, 0.9, 0.1)),
        ((500, 500), (5, 500), (0.5, 1.0)),
        ((5_000, 3_000, 500, 100, 2_000, 50), (50,) * 6, (0.98, 0.99, 0.8, 0.85, 0.99, 0.7)),
    ],
)
def test_the_interval_covers_the_truth(
    populations: tuple[int, ...], sizes: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    truth = float(np.average(shares, weights=populations))
    random = np.random.default_rng(15)
    covered = 0
    for _ in range(1_000):
        hits = random.binomial(sizes, shares).tolist()
        found = precision(
            [
                StratumAnswers(population, correct=hit, wrong=size - hit)
                for population, size, hit in zip(populations, sizes, hits, strict=True)
            ]
        )
        assert found.estimate is not None
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        covered += found.low <= truth <= found.high
    assert covered >= 920


def test_area_error_of_a_stratum_by_hand() -> None:
    # One outline 10 m² too large, one 20 m² too small, one object that is not there.
    areas_m2 = ((110.0, 100.0), (180.0, 200.0), (50.0, 0.0), (100.0, 100.0))
    found = area_error([StratumAnswers(40, correct=1, outline=2, wrong=1, areas_m2=areas_m2)])
    assert found is not None
    assert found.bias == pytest.approx((10 - 20 + 50) / 400)
    assert found.absolute == pytest.approx((10 + 20 + 50) / 400)


def test_area_error_weighs_strata_by_what_an_item_stands_for() -> None:
    large = StratumAnswers(1_000, areas_m2=((110.0, 100.0),) * 10)
    small = StratumAnswers(100, areas_m2=((50.0, 100.0),) * 20)
    found = area_error([large, small])
    assert found is not None
    assert found.bias == pytest.approx((1_000 * 10 - 100 * 50) / (1_100 * 100))


def test_area_error_has_no_interval_without_a_spread() -> None:
    for areas_m2 in (((100.0, 100.0),) * 50, ((100.0, 100.0),) * 46 + ((90.0, 100.0),) * 4):
        found = area_error([StratumAnswers(500, areas_m2=areas_m2)])
        assert found is not None
        assert (found.low, found.high) == (None, None)
    lonely = StratumAnswers(9, areas_m2=((80.0, 100.0),))
    spread = StratumAnswers(500, areas_m2=((90.0, 100.0), (120.0, 100.0)) * 10)
    assert getattr(area_error([spread]), "low", None) is not None
    assert getattr(area_error([spread, lonely]), "low", 0) is None
    unknown = StratumAnswers(10_000)
    assert getattr(area_error([spread, unknown]), "low", 0) is None


def test_the_interval_of_the_area_error_covers_the_truth() -> None:
    random = np.random.default_rng(15)
    truth = (1_000 * 1.1 + 300 * 0.9) * np.exp(0.02) / 1_300 - 1
    covered = 0
    for _ in range(500):
        strata = []
        for population, size, factor in ((1_000, 40, 1.1), (300, 30, 0.9)):
            true = random.gamma(4, 50, size)
            found = true * factor * np.exp(random.normal(0, 0.2, size))
            areas_m2 = tuple(zip(found.tolist(), true.tolist(), strict=True))
            strata.append(StratumAnswers(population, outline=size, areas_m2=areas_m2))
        error = area_error(strata)
        assert error is not None
        assert error.low is not None
        assert error.high is not None
        covered += error.low <= truth <= error.high
    assert covered >= 450


def test_kappa_is_that_of_the_textbook() -> None:
    # Two readers of 50 proposals: 20 and 15 the same, 5 and 10 not. Kappa 0.4, as in the example
    # of "Cohen's kappa" in many textbooks; agreement 0.7, by chance 0.5.
    counts: dict[tuple[AuditVerdict, AuditVerdict], int] = {
        ("correct", "correct"): 20,
        ("correct", "wrong"): 5,
        ("wrong", "correct"): 10,
        ("wrong", "wrong"): 15,
        ("unsure", "correct"): 1,
        ("unsure", "unsure"): 1,
    }
    found = agreement([pair for pair, count in counts.items() for _ in range(count)])
    assert (found.pairs, found.unsure) == (50, 2)
    assert found.share.estimate == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)


def test_kappa_is_unknown_where_chance_agrees_always() -> None:
    assert agreement([]).kappa is None
    same: list[tuple[AuditVerdict, AuditVerdict]] = [("correct", "correct")] * 9
    assert agreement(same).kappa is None
    assert agreement(same).share.estimate == 1.0
