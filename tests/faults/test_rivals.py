"""Fault 8: several batches on one county at once, one of which is killed.

No lot is done twice, and none is left out.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psycopg
import pytest
from batches import (
    Batch,
    check_like_clean,
    environment,
    finished,
    free_batch,
    started,
    wait_for,
)
from largecounty import KEY, ODD, make

from pipeline.store.database import Database

# Batches with processes of their own race each other, until one is killed.
pytestmark = pytest.mark.serial

# Small ones, so that one batch does not have the whole of it in hand.
CHUNK_LOTS = 200

_BY_RUN = "SELECT run_fk, count(*) FROM lotline.property WHERE county = %s GROUP BY run_fk"
_MORE_THAN_ONCE = "SELECT sum(attempts - 1) FROM lotline.property WHERE county = %s"


@pytest.mark.parametrize(
    ("rivals", "lots"), [(2, 2_000), pytest.param(4, 20_000, marks=pytest.mark.long)]
)
def test_no_lot_is_done_twice(
    database: Database,
    tmp_path: Path,
    rivals: int,
    lots: int,
) -> None:
    url, env = database.url, environment(database.url, tmp_path)
    county = make(tmp_path / "county", lots)
    with contextlib.ExitStack() as stack:
        batches = [
            stack.enter_context(
                started(free_batch(county, KEY, tmp_path / f"log-{n}", CHUNK_LOTS), tmp_path, env)
            )
            for n in range(rivals)
        ]
        wait_for(lambda: finished(url, KEY) > lots / 5 or _all_ended(batches))
        batches[0].kill(alone=False)
        reports = []
        for batch in batches[1:]:
            code, said, complained = batch.ended()
            assert code == 0, complained
            reports.append(json.loads(said))
    # What was held by the killed one when the others had leased all that was free.
    with started(free_batch(county, KEY, tmp_path / "last"), tmp_path, env) as batch:
        code, said, complained = batch.ended()
        assert code == 0, complained
        reports.append(json.loads(said))

    with psycopg.connect(url) as conn:
        answered: dict[int, int] = dict(conn.execute(_BY_RUN, [KEY]).fetchall())
        [again] = conn.execute(_MORE_THAN_ONCE, [KEY]).fetchone() or [None]
    assert sum(answered.values()) == lots + len(ODD)
    for report in reports:
        assert sum(report["processed"].values()) == answered.get(report["run"], 0)
    assert again == 0, "what a killed one held is no attempt"
    check_like_clean(url, county, tmp_path)


def _all_ended(batches: list[Batch]) -> bool:
    return all(batch.process.poll() is not None for batch in batches)
