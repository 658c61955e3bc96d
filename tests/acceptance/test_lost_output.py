"""A batch whose log, output or files cannot be written: the work is done, the exit code says so."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from smalldisk import small_disk
from user import User

from pipeline.log import LogFormat

LIMIT = 2

_DONE = "SELECT count(*) FROM lotline.property WHERE state <> 'pending'"

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def _batch(user: User, redirection: str, log_format: LogFormat = "text") -> int:
    """Run a batch in a shell; its exit code, also in front of a pipe."""
    redirected, bar, reader = redirection.partition("|")
    command = f"{shlex.join(user.command)} batch --limit {LIMIT} {redirected}"
    # Not into a pipe of this process, which would be open although the shell closes its copy.
    with (user.folder / "streams").open("w") as streams:
        subprocess.run(
            ["sh", "-c", f"exec 9>code; {{ {command}; echo $? >&9; }} {bar} {reader}"],
            cwd=user.folder, env={**user.env, "LOG_FORMAT": log_format},
            stdout=streams, stderr=streams, check=True, timeout=300,
        )  # fmt: skip
    assert "Traceback" not in (user.folder / "streams").read_text()
    return int((user.folder / "code").read_text())


def _assert_all_is_done(user: User) -> None:
    with psycopg.connect(user.env["DATABASE_URL"]) as conn:
        assert conn.execute(_DONE).fetchone() == (LIMIT,)
    out = user.folder / "out" / "sample"
    report = json.loads((out / "report.json").read_text())
    assert (report["state"], report["properties"]) == ("finished", LIMIT)
    assert {file.name for file in out.iterdir()} == {"map.png", "report.html", "report.json"}


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("2>/dev/full", 0),
        (">/dev/full", 3),
        ("<&- >&- 2>&-", 0),
        ("2>&1 | head -1", 0),
        *(
            pytest.param(redirection, code, marks=pytest.mark.long)
            for redirection, code in (
                ("2>&-", 0),
                (">&-", 0),
                ("<&-", 0),
                (">&- 2>&-", 0),
                (">/dev/full 2>/dev/full", 3),
                (">/dev/full 2>&-", 3),
                (">&- 2>/dev/full", 0),
                (" | head -1", 0),
                (" | true", 0),
                ("2>&1 | true", 0),
            )
        ),
    ],
)
def test_a_batch_without_its_log_or_output(fresh: User, redirection: str, code: int) -> None:
    assert _batch(fresh, redirection) == code
    _assert_all_is_done(fresh)


@pytest.mark.long
@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("2>/dev/full", 0),
        ("2>&-", 0),
        (">/dev/full", 3),
        (">&- 2>&- <&-", 0),
        ("2>&1 | head -1", 0),
    ],
)
def test_a_batch_without_its_log_in_json(fresh: User, redirection: str, code: int) -> None:
    assert _batch(fresh, redirection, "json") == code
    _assert_all_is_done(fresh)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "filler").write_bytes(bytes(65_536))
        yield disk


def test_a_report_that_cannot_be_written_has_an_exit_code(fresh: User, full_disk: Path) -> None:
    done = fresh.run("batch", "--limit", str(LIMIT), "--out", str(full_disk / "out"), code=3)
    assert "map.png cannot be written" in done.stderr
    assert "report.json cannot be written (No space left on device)" in done.stderr
    assert "`lotline runs show 1 --html FILE` writes its page elsewhere" in done.stderr
    assert f"{LIMIT} properties" in done.stdout
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        assert conn.execute(_DONE).fetchone() == (LIMIT,)


def test_a_read_only_folder_is_refused_before_the_work(fresh: User, full_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
    done = fresh.run("batch", "--limit", str(LIMIT), "--out", str(full_disk), code=2)
    assert f"cannot write into the output folder {full_disk}" in done.stderr
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        assert conn.execute(_DONE).fetchone() == (0,)
