"""The command as a user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.settings import CommandSettings, env_variable

ROOT = Path(__file__).resolve().parent.parent.parent
LOTLINE = Path(sys.executable).with_name("lotline")
IMPATIENT = Path(__file__).with_name("impatient.py")
# What the shell of whoever runs the tests may hold, and no test wants.
OURS = {"LOTLINE_CONFIG", *map(env_variable, CommandSettings.model_fields)}


@dataclass
class User:
    """Somebody with a folder, a home for Lotline, and the command."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = (str(LOTLINE),)

    def impatient(self) -> User:
        """The same one, whose command calls a server again at once, and as often as ever."""
        return replace(self, command=(sys.executable, str(IMPATIENT)))

    def run(
        self, *arguments: str, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `lotline …` and check its exit code (None: any)."""
        done = subprocess.run(
            [*self.command, *arguments],
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
