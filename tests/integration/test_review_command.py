"""`lotline review` as a command: it serves until Ctrl-C, and keeps the tokens of reviewers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from pipeline.store.database import Database

LOTLINE = str(Path(sys.executable).with_name("lotline"))
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database: Database, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": database.url, "LOTLINE_HOME": str(tmp_path)}


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Command:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LOTLINE, "review", *words],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


def test_it_serves_this_machine_until_ctrl_c(environment: dict[str, str], tmp_path: Path) -> None:
    serving = subprocess.Popen(
        [LOTLINE, "review", "--port", "0"],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert serving.stdout is not None
    with serving.stdout as said:
        address = re.search(r"http://127\.0\.0\.1:\d+/", said.readline())
        assert address is not None
        assert "only this machine" in said.readline()
        assert requests.get(f"{address[0]}session", timeout=30).json()["role"] == "admin"
        serving.send_signal(signal.SIGINT)
        assert serving.wait(60) == 130


def test_it_lets_nobody_in_without_a_token(command: Command) -> None:
    refused = command("--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "lotline review token add" in refused.stderr


def test_a_token_is_printed_once_listed_and_revoked(command: Command) -> None:
    added = command("token", "add", "Ann\x1b[2J Lee", "--role", "viewer", "--county", "shelby")
    assert added.returncode == 0
    token = added.stdout.strip()
    assert re.fullmatch(r"lotline_[\w-]{43}", token)
    listed = command("token", "list").stdout
    assert token not in listed
    assert "viewer" in listed
    assert "shelby" in listed
    assert "\x1b" not in listed
    assert command("token", "revoke", "1").returncode == 0
    assert "revoked" in command("token", "list").stdout
    assert command("token", "revoke", "2").returncode == 2
    assert command("token", "add", " ").returncode == 2
