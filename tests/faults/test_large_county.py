"""Fault 28: a county of a million lots. Memory stays flat, and a re-run ends within seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from batches import environment, free_segmenter_command, spectral_command, start_process
from largecounty import KEY, LargeCounty, make_county, write_properties

from pipeline.store.database import Database

_SAMPLE_S = 0.2
_MARK_DONE = """
UPDATE lotline.property SET state = 'done', reason = 'measured', run_fk = (
    SELECT max(id) FROM lotline.run WHERE county = %(county)s)
WHERE county = %(county)s AND state <> 'done'
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)


def peak_memory_mb(
    command: list[str], folder: Path, env: dict[str, str]
) -> tuple[list[float], str]:
    """Peak resident memory of a batch's processes, in each tenth of its time."""
    samples: list[float] = []
    with start_process(command, folder, env) as batch:
        while batch.process.poll() is None:
            samples.append(batch.resident_mb())
            time.sleep(_SAMPLE_S)
        code, output, errors = batch.wait()
        assert code == 0, errors
    tenth = max(len(samples) // 10, 1)
    return [max(samples[i * tenth : (i + 1) * tenth] or [0.0]) for i in range(10)], output


@pytest.mark.long  # ten minutes
@pytest.mark.timeout(3600)
def test_memory_stays_flat_over_a_hundred_thousand_lots(
    database: Database,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    env = environment(database.url, tmp_path)
    county = make_county(tmp_path / "county", 100_000)
    peaks, output = peak_memory_mb(
        free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
    )
    result = json.loads(output)
    done = sum(result["processed"].values())
    assert done == county.lots + 3
    assert max(peaks[5:]) <= 1.1 * max(peaks[:5]), peaks
    seconds, peak_mb = _rerun(spectral_command(county), tmp_path, env)
    shown = " ".join(f"{mb:.0f}" for mb in peaks)
    record_property(
        "Memory over 100,000 lots",
        f"{done / result['wall_s']:,.0f} lots a second; resident MB in each tenth of the run: "
        f"{shown}; the same command again on the finished county: {seconds:.2f} s",
    )
    assert peak_mb < max(peaks)


@pytest.mark.long  # five minutes
@pytest.mark.timeout(3600)
def test_nothing_to_do_in_a_county_of_a_million_lots(
    database: Database,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """The command enqueues them, and an SQL statement marks them as done."""
    env = environment(database.url, tmp_path)
    made = make_county(tmp_path / "county", 1_000)
    county = LargeCounty(made.folder, 1_000_000)
    write_properties(county)
    first, _ = peak_memory_mb(spectral_command(county, "--limit", "500"), tmp_path, env)
    with psycopg.connect(database.url) as conn:
        conn.execute(_MARK_DONE, {"county": KEY})
        [(lots,)] = conn.execute("SELECT count(*) FROM lotline.property").fetchall()
    assert lots == county.lots + 3
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE lotline.property")
    seconds, peak_mb = _rerun(spectral_command(county), tmp_path, env)
    # Only the libraries are in memory, and nothing of the county.
    assert peak_mb < 400
    record_property(
        "A million lots, done",
        f"the CSV of {lots:,} loaded and 500 processed in {max(first):,.0f} MB, most of "
        "which is the segmenter's; the same command "
        f"again, nothing to do: {seconds:.2f} s, {peak_mb:,.0f} MB",
    )


def _rerun(command: list[str], folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """Seconds of a process that finds nothing to do, and its peak memory in MB."""
    peak_mb = 0.0
    started_s = time.perf_counter()
    with start_process(command, folder, env) as batch:
        while batch.process.poll() is None:
            peak_mb = max(peak_mb, batch.resident_mb())
            time.sleep(0.02)
        seconds = time.perf_counter() - started_s
        _, output, errors = batch.wait()
    assert "Nothing to do" in output, errors
    return seconds, peak_mb
