"""Fault 8: several batches on one county at once, one of which is killed.

No lot is processed twice, and none is skipped.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psycopg
import pytest
from batches import (
    Batch,
    assert_equal_to_clean_run,
    count_finished,
    environment,
    free_segmenter_command,
    start_process,
    wait_for,
)
from largecounty import KEY, ODD, make_county

from pipeline.store.database import Database

# Batches with worker processes compete, until one is killed.
pytestmark = pytest.mark.serial

# Small chunks, so that one batch does not lease the complete county.
CHUNK_LOTS = 200

_BY_RUN = "SELECT run_fk, count(*) FROM lotline.property WHERE county = %s GROUP BY run_fk"
_MORE_THAN_ONCE = "SELECT sum(attempts - 1) FROM lotline.property WHERE county = %s"


@pytest.mark.parametrize(
    ("rivals", "lots"), [(2, 2_000), pytest.param(4, 20_000, marks=pytest.mark.long)]
)
def test_no_lot_is_processed_twice(
    database: Database,
    tmp_path: Path,
    rivals: int,
    lots: int,
) -> None:
    url, env = database.url, environment(database.url, tmp_path)
    county = make_county(tmp_path / "county", lots)
    with contextlib.ExitStack() as stack:
        batches = [
            stack.enter_context(
                start_process(
                    free_segmenter_command(county, KEY, tmp_path / f"log-{n}", CHUNK_LOTS),
                    tmp_path,
                    env,
                )
            )
            for n in range(rivals)
        ]
        wait_for(lambda: count_finished(url, KEY) > lots / 5 or _all_ended(batches))
        batches[0].kill(alone=False)
        reports = []
        for batch in batches[1:]:
            code, output, errors = batch.wait()
            assert code == 0, errors
            reports.append(json.loads(output))
    # Processes what the killed batch had leased, if the others ended before.
    with start_process(
        free_segmenter_command(county, KEY, tmp_path / "last"), tmp_path, env
    ) as batch:
        code, output, errors = batch.wait()
        assert code == 0, errors
        reports.append(json.loads(output))

    with psycopg.connect(url) as conn:
        processed: dict[int, int] = dict(conn.execute(_BY_RUN, [KEY]).fetchall())
        [retries] = conn.execute(_MORE_THAN_ONCE, [KEY]).fetchone() or [None]
    assert sum(processed.values()) == lots + len(ODD)
    for report in reports:
        assert sum(report["processed"].values()) == processed.get(report["run"], 0)
    assert retries == 0, "a reclaimed lease is not an attempt"
    assert_equal_to_clean_run(url, county, tmp_path)


def _all_ended(batches: list[Batch]) -> bool:
    return all(batch.process.poll() is not None for batch in batches)
