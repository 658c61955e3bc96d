"""`lotline review audit` as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lots import (
    COUNTY,
    LAWN,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    write_lot,
)
from lots import start_run as start_batch
from sqlalchemy import text

from pipeline.store.database import Database
from pipeline.store.reviews.audit_answers import answer

LOTLINE = str(Path(sys.executable).with_name("lotline"))
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(database: Database, tmp_path: Path) -> Command:
    environment = {**os.environ, "DATABASE_URL": database.url, "LOTLINE_HOME": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LOTLINE, "review", "audit", *words],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


def test_an_audit_is_started_answered_and_shown(command: Command, database: Database) -> None:
    county = ("--county", COUNTY)
    with database.engine.begin() as conn:
        keys = load_properties(conn, 12)
    empty = command("start", *county)
    assert empty.returncode == 2
    assert "lotline batch" in empty.stderr
    none = command("status", *county)
    assert none.returncode == 0
    assert "audit start" in none.stdout
    with database.engine.begin() as conn:
        run = start_batch(conn)
        for key in keys:
            write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    started = command("start", *county, "--per-stratum", "10", "--second", "0.25", "--seed", "7")
    assert started.returncode == 0, started.stderr
    assert "10 detections, seed 7" in started.stdout
    assert "lawn, lot: 10 of 12" in started.stdout
    assert "3 items of them need a second opinion" in started.stdout
    with database.engine.begin() as conn:
        items = conn.execute(
            text("SELECT id, needs_second FROM lotline.audit_item ORDER BY position")
        ).all()
        for number, item in enumerate(items):
            answer(conn, item.id, "ann\x1b[2J", "correct" if number < 7 else "wrong")
    # The others are not told before the second answer.
    waiting = command("status", *county).stdout
    assert "7 of 10 items answered" in waiting
    assert "second opinions: 0 of 3" in waiting
    # Of seven answers no share is shown, as on the dashboard.
    assert "%" not in waiting
    assert "precision too few (n = 7), right as it is too few (n = 7), area too few" in waiting
    assert "the same verdict in no answer yet" in waiting
    few = json.loads(command("status", *county, "--json").stdout)
    for rate in (few["overall"], *few["strata"], *few["by_label"]):
        assert rate["precision"] == {
            "estimate": None, "low": None, "high": None, "reason": "too few (n = 7)"
        }  # fmt: skip
        assert rate["area"]["bias"] is None
        assert rate["area"]["reason"] == "too few (n = 7)"
    assert few["agreement"]["kappa"] is None
    with database.engine.begin() as conn:
        for item in items:
            if item.needs_second:
                answer(conn, item.id, "bob", "unsure")
    shown = command("status", *county).stdout
    assert "10 of 10 items answered" in shown
    # Wilson's interval of 7 of 10, as scipy has it.
    assert "precision 70% (40% to 89%)" in shown
    assert "area no outline was corrected" in shown
    assert "second opinions: 3 of 3" in shown
    assert "kappa" not in shown
    found = json.loads(command("status", *county, "--json").stdout)
    assert found["overall"]["precision"]["low"] == pytest.approx(0.39677814746114526)
    assert found["overall"]["precision"]["reason"] is None
    assert found["overall"]["area"]["reason"] == "no outline was corrected"
    assert found["sample"]["seed"] == 7


def test_numbers_out_of_range_are_refused(command: Command) -> None:
    for words in (
        ("--per-stratum", "0"),
        ("--second", "1.5"),
        ("--second", "nan"),
        ("--seed", "-1"),
        ("--county", "nowhere"),
    ):
        refused = command("start", "--county", COUNTY, *words)
        assert refused.returncode == 2, words
        assert refused.stderr
