"""The command as a user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pipeline.settings import CommandSettings, env_variable

ROOT = Path(__file__).resolve().parent.parent.parent
LOTLINE = Path(sys.executable).with_name("lotline")
# What the shell of whoever runs the tests may hold, and no test wants.
OURS = {"LOTLINE_CONFIG", *map(env_variable, CommandSettings.model_fields)}


@dataclass
class User:
    """Somebody with a folder, a home for Lotline, and the command."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(
        self, *arguments: str, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `lotline …` and check its exit code (None: any)."""
        done = subprocess.run(
            [str(LOTLINE), *arguments],
            cwd=self.folder,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def status(self, *arguments: str, **env: str) -> dict[str, Any]:
        """`lotline status --json`."""
        answer: dict[str, Any] = json.loads(
            self.run("status", "--json", *arguments, code=0, **env).stdout
        )
        return answer


def clean_environment(**more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in OURS}
    blocked = str(ROOT / "tests" / "netblock")
    return {**env, "PYTHONPATH": blocked, "PYTHONWARNINGS": "", **more}


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """One home for the session: making a cluster takes seconds. Stopped and removed at the end.

    Not under pytest's own folder, which only root may enter when the tests run as root.
    """
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(
        [str(LOTLINE), "db", "stop"], env=clean_environment(LOTLINE_HOME=str(folder)), check=True
    )
    shutil.rmtree(folder)


@pytest.fixture
def user(tmp_path: Path, home: Path) -> User:
    """Somebody in an empty folder; the database may hold other tests' counties."""
    return User(tmp_path, clean_environment(LOTLINE_HOME=str(home)))


@pytest.fixture(scope="session")
def server_url(home: Path) -> str:
    """The session's embedded server, kept up for the tests that want a database of their own."""
    done = subprocess.run(
        [str(LOTLINE), "db", "url"],
        env=clean_environment(LOTLINE_HOME=str(home)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def fresh(tmp_path: Path, home: Path, server_url: str) -> Iterator[User]:
    """Somebody with an empty database of their own, named by DATABASE_URL."""
    name = f"test_{abs(hash(tmp_path)):x}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = server_url.replace("/lotline?", f"/{name}?")
    yield User(tmp_path, clean_environment(LOTLINE_HOME=str(home), DATABASE_URL=own))
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
