"""Fault 7: `kill -9` at random instants, again and again. Nothing is lost, and little done twice.

Each batch is a process of its own with processes below it. It is killed alone, so that these have
to see for themselves that it is gone, or together with them.
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
    check_like_clean,
    environment,
    finished,
    free_batch,
    leased,
    started,
    wait_for,
)
from largecounty import GSD_M, KEY, LargeCounty, make
from segmenters import FreeSegmenter

from pipeline.batch.lease_loop import CHUNK_LOTS
from pipeline.store.database import Database

# Batches with processes of their own are killed at random instants of their work.
pytestmark = pytest.mark.serial

# Of a chip without its margins: where the lots are that it was looked at for.
_REACH_M = FreeSegmenter.chip_px * GSD_M * 7 / 16


@dataclass
class Killed:
    """What became of a county through many kills.

    Attributes:
        redone: for each kill, the lots that had been looked at and were not written.
        held: for each kill, the lots that were leased.
    """

    redone: list[int]
    held: list[int]


def killed(url: str, county: LargeCounty, home: Path, kills: int, seed: int) -> Killed:
    """Run batches on a county, each killed somewhere, and a last one to its end."""
    rng = random.Random(seed)
    # So early that something is left for the last one, and each at its own point of the work.
    targets = sorted(rng.uniform(0, 0.6 * county.lots) for _ in range(kills))
    env = environment(url, home)
    seen = Killed([], [])
    for number, target in enumerate(targets):
        log = home / f"looked-{number}"
        log.touch()
        with started(free_batch(county, KEY, log), home, env) as batch:
            wait_for(_at_work(url, log, target), batch)
            time.sleep(rng.uniform(0, 0.3))
            batch.kill(alone=number % 2 == 0)
            _ends(batch)
        held = leased(url, KEY)
        seen.held.append(len(held))
        seen.redone.append(_looked_at(county, held, log))
    with started(free_batch(county, KEY, home / "last"), home, env) as batch:
        code, said, complained = batch.ended()
        assert code == 0, (said, complained)
    return seen


def _at_work(url: str, log: Path, target: float) -> Callable[[], bool]:
    """Whether a batch has looked at something, and the county is so far."""
    return lambda: log.stat().st_size > 0 and finished(url, KEY) >= target


def _ends(batch: Batch) -> None:
    """Its processes see that it is gone, and end."""
    wait_for(lambda: not batch.family(), seconds=20)


def _looked_at(county: LargeCounty, held: list[str], log: Path) -> int:
    """How many of these properties lie where the segmenter looked."""
    looked = np.loadtxt(log, ndmin=2)
    middles = county.middles_m(held)
    if not len(looked) or not len(middles):
        return 0
    away_m = np.abs(middles[:, None, :] - looked[None, :, :]).max(axis=2).min(axis=1)
    return int((away_m <= _REACH_M).sum())


def check_runs(url: str, kills: int) -> None:
    """Each run that was killed is known to have been, and the last one came to its end."""
    with psycopg.connect(url) as conn:
        query = "SELECT state FROM lotline.run WHERE county = %s ORDER BY id"
        runs = [state for (state,) in conn.execute(query, [KEY])]
    assert runs == ["killed"] * kills + ["finished"]


def test_after_three_kills_rows_are_those_of_a_clean_run(
    database: Database,
    tmp_path: Path,
) -> None:
    county = make(tmp_path / "county", 2_000)
    seen = killed(database.url, county, tmp_path, 3, seed=7)
    check_like_clean(database.url, county, tmp_path)
    check_runs(database.url, 3)
    assert max(seen.redone) <= CHUNK_LOTS


@pytest.mark.long  # five minutes
def test_after_twenty_kills_rows_are_those_of_a_clean_run(
    database: Database,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    county = make(tmp_path / "county", 20_000)
    seen = killed(database.url, county, tmp_path, 20, seed=20)
    check_like_clean(database.url, county, tmp_path)
    check_runs(database.url, 20)
    assert max(seen.redone) <= CHUNK_LOTS
    record_property(
        "20 kills at random instants",
        f"{county.lots:,} lots, rows as of a clean run; looked at again after a kill "
        f"{max(seen.redone):,} lots at most, {np.median(seen.redone):,.0f} in the median "
        f"(a chunk has {CHUNK_LOTS:,}); "
        f"leased when it was killed: {max(seen.held):,} at most",
    )
