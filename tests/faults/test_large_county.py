"""Fault 28: a county of a million lots. Memory stays flat, and nothing to do is seen at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from batches import environment, free_batch, spectral_batch, started
from largecounty import KEY, LargeCounty, make, write_properties

from pipeline.store.database import Database

_EVERY_S = 0.2
_DONE = """
UPDATE lotline.property SET state = 'done', reason = 'measured', run_fk = (
    SELECT max(id) FROM lotline.run WHERE county = %(county)s)
WHERE county = %(county)s AND state <> 'done'
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)


def peaks_mb(command: list[str], folder: Path, env: dict[str, str]) -> tuple[list[float], str]:
    """The highest resident memory of a batch's processes in each tenth of its time."""
    samples: list[float] = []
    with started(command, folder, env) as batch:
        while batch.process.poll() is None:
            samples.append(batch.resident_mb())
            time.sleep(_EVERY_S)
        code, said, complained = batch.ended()
        assert code == 0, complained
    tenth = max(len(samples) // 10, 1)
    return [max(samples[i * tenth : (i + 1) * tenth] or [0.0]) for i in range(10)], said


@pytest.mark.long  # ten minutes
@pytest.mark.timeout(3600)
def test_memory_is_flat_while_a_hundred_thousand_lots_are_worked_on(
    database: Database,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    env = environment(database.url, tmp_path)
    county = make(tmp_path / "county", 100_000)
    through, said = peaks_mb(free_batch(county, KEY, tmp_path / "log"), tmp_path, env)
    told = json.loads(said)
    done = sum(told["processed"].values())
    assert done == county.lots + 3
    assert max(through[5:]) <= 1.1 * max(through[:5]), through
    seconds, peak_mb = _again(spectral_batch(county), tmp_path, env)
    shown = " ".join(f"{mb:.0f}" for mb in through)
    record_property(
        "Memory over 100,000 lots",
        f"{done / told['wall_s']:,.0f} lots a second; resident MB in each tenth of the run: "
        f"{shown}; the same command again on the finished county: {seconds:.2f} s",
    )
    assert peak_mb < max(through)


@pytest.mark.long  # five minutes
@pytest.mark.timeout(3600)
def test_a_million_lots_that_are_done(
    database: Database,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """They are put into the queue by the command, and said to be done by a statement."""
    env = environment(database.url, tmp_path)
    made = make(tmp_path / "county", 1_000)
    county = LargeCounty(made.folder, 1_000_000)
    write_properties(county)
    first, _ = peaks_mb(spectral_batch(county, "--limit", "500"), tmp_path, env)
    with psycopg.connect(database.url) as conn:
        conn.execute(_DONE, {"county": KEY})
        [(lots,)] = conn.execute("SELECT count(*) FROM lotline.property").fetchall()
    assert lots == county.lots + 3
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE lotline.property")
    seconds, peak_mb = _again(spectral_batch(county), tmp_path, env)
    # A small county's run has the same libraries in memory, and nothing of the county.
    assert peak_mb < 400
    record_property(
        "A million lots, done",
        f"the CSV of {lots:,} loaded and 500 looked at in {max(first):,.0f} MB, most of "
        "which is the segmenter's; the same command "
        f"again, nothing to do: {seconds:.2f} s, {peak_mb:,.0f} MB",
    )


def _again(command: list[str], folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """Seconds of a whole process that finds nothing to do, and its peak memory in MB."""
    peak_mb = 0.0
    started_s = time.perf_counter()
    with started(command, folder, env) as batch:
        while batch.process.poll() is None:
            peak_mb = max(peak_mb, batch.resident_mb())
            time.sleep(0.02)
        seconds = time.perf_counter() - started_s
        _, said, complained = batch.ended()
    assert "Nothing to do" in said, complained
    return seconds, peak_mb
