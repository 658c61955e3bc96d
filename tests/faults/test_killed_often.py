"""Fault 7: `kill -9` at random moments, repeatedly. Nothing is lost, and little is done twice.

A batch is killed with its worker processes, or alone, so that they have to notice it themselves.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest
from batches import (
    Batch,
    assert_equal_to_clean_run,
    count_finished,
    environment,
    free_segmenter_command,
    leased_properties,
    start_process,
    wait_for,
)
from largecounty import GSD_M, KEY, LargeCounty, make_county
from segmenters import FreeSegmenter

from pipeline.batch.lease_loop import CHUNK_LOTS
from pipeline.store.database import Database

# Batches with worker processes are killed at random moments.
pytestmark = pytest.mark.serial

# Half the side of a chip without its overlap: the lots that it was segmented for are inside.
_REACH_M = FreeSegmenter.chip_px * GSD_M * 7 / 16


@dataclass
class KillCosts:
    """What the kills cost.

    Attributes:
        redone: for each kill, the lots that were segmented and not written.
        leased: for each kill, the lots that were leased.
    """

    redone: list[int]
    leased: list[int]


def kill_batches(url: str, county: LargeCounty, home: Path, kills: int, seed: int) -> KillCosts:
    """Run batches on a county, each killed at random, and a last one to its end."""
    rng = random.Random(seed)
    # Early enough that work is left for the last batch.
    targets = sorted(rng.uniform(0, 0.6 * county.lots) for _ in range(kills))
    env = environment(url, home)
    costs = KillCosts([], [])
    for number, target in enumerate(targets):
        log = home / f"segmented-{number}"
        log.touch()
        with start_process(free_segmenter_command(county, KEY, log), home, env) as batch:
            wait_for(_has_reached(url, log, target), batch)
            time.sleep(rng.uniform(0, 0.3))
            batch.kill(alone=number % 2 == 0)
            _wait_for_workers(batch)
        leased = leased_properties(url, KEY)
        costs.leased.append(len(leased))
        costs.redone.append(_count_segmented(county, leased, log))
    with start_process(free_segmenter_command(county, KEY, home / "last"), home, env) as batch:
        code, output, errors = batch.wait()
        assert code == 0, (output, errors)
    return costs


def _has_reached(url: str, log: Path, target: float) -> Callable[[], bool]:
    """Whether a batch has segmented chips, and the county has reached the target."""
    return lambda: log.stat().st_size > 0 and count_finished(url, KEY) >= target


def _wait_for_workers(batch: Batch) -> None:
    """The worker processes notice that their batch is gone, and end."""
    wait_for(lambda: not batch.group(), seconds=20)


def _count_segmented(county: LargeCounty, leased: list[str], log: Path) -> int:
    """How many of these properties are on chips that were segmented."""
    chips = np.loadtxt(log, ndmin=2)
    middles = county.centres_m(leased)
    if not len(chips) or not len(middles):
        return 0
    away_m = np.abs(middles[:, None, :] - chips[None, :, :]).max(axis=2).min(axis=1)
    return int((away_m <= _REACH_M).sum())


def check_runs(url: str, kills: int) -> None:
    """Each killed run is recorded as killed, and the last one finished."""
    with psycopg.connect(url) as conn:
        query = "SELECT state FROM lotline.run WHERE county = %s ORDER BY id"
        runs = [state for (state,) in conn.execute(query, [KEY])]
    assert runs == ["killed"] * kills + ["finished"]


@pytest.mark.long  # half a minute; one kill is in tests/acceptance/test_killed.py
def test_after_three_kills_rows_are_those_of_a_clean_run(
    database: Database,
    tmp_path: Path,
) -> None:
    county = make_county(tmp_path / "county", 2_000)
    costs = kill_batches(database.url, county, tmp_path, 3, seed=7)
    assert_equal_to_clean_run(database.url, county, tmp_path)
    check_runs(database.url, 3)
    assert max(costs.redone) <= CHUNK_LOTS


@pytest.mark.long  # five minutes
def test_after_twenty_kills_rows_are_those_of_a_clean_run(
    database: Database,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    county = make_county(tmp_path / "county", 20_000)
    costs = kill_batches(database.url, county, tmp_path, 20, seed=20)
    assert_equal_to_clean_run(database.url, county, tmp_path)
    check_runs(database.url, 20)
    assert max(costs.redone) <= CHUNK_LOTS
    record_property(
        "20 kills at random instants",
        f"{county.lots:,} lots, rows as of a clean run; processed again after a kill "
        f"{max(costs.redone):,} lots at most, {np.median(costs.redone):,.0f} in the median "
        f"(a chunk has {CHUNK_LOTS:,}); "
        f"leased when it was killed: {max(costs.leased):,} at most",
    )
