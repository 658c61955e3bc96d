"""Run the command as a user does: in its own process and folder."""

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
WITHOUT_BACKOFF = Path(__file__).with_name("without_backoff.py")
# Removed from the environment: the developer's own settings.
SETTING_VARIABLES = {"LOTLINE_CONFIG", *map(env_variable, CommandSettings.model_fields)}


@dataclass
class User:
    """A user with a working folder, a LOTLINE_HOME, and the command.

    Attributes:
        segmenter: of batches that name none; "" for the command's default.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = (str(LOTLINE),)
    segmenter: str = "spectral"

    def without_backoff(self) -> User:
        """The same user, with a command that retries requests without backoff."""
        return replace(self, command=(sys.executable, str(WITHOUT_BACKOFF)))

    def run(
        self, *arguments: str, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `lotline …` and check its exit code (None: any)."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env={**self.env, **self._segmenter(arguments), **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def _segmenter(self, arguments: tuple[str, ...]) -> dict[str, str]:
        named = self.segmenter and arguments[:1] == ("batch",) and "--segmenter" not in arguments
        return {"SEGMENTER": self.segmenter} if named and "SEGMENTER" not in self.env else {}

    def status(self, *arguments: str, **env: str) -> dict[str, Any]:
        """`lotline status --json`."""
        document: dict[str, Any] = json.loads(
            self.run("status", "--json", *arguments, code=0, **env).stdout
        )
        return document


def clean_environment(**more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in SETTING_VARIABLES}
    blocked = str(ROOT / "tests" / "netblock")
    return {**env, "PYTHONPATH": blocked, "PYTHONWARNINGS": "", **more}
