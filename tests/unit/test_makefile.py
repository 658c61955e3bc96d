"""`make batch` rejects a misspelt variable, instead of ignoring it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.settings import CommandSettings, env_variable

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # If make runs the tests, its own flags are in the environment.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("typed", ["COUNTRY=shelby", "LIMT=4", "county=shelby"])
def test_an_unknown_variable_is_rejected(typed: str) -> None:
    done = make("batch", "COUNTY=shelby", typed)
    assert done.returncode == 2
    assert f"unknown setting {typed.partition('=')[0]}; the settings are COUNTY " in done.stderr


def test_every_setting_and_a_countys_token_is_accepted() -> None:
    names = [*map(env_variable, CommandSettings.model_fields), "LOTLINE_CONFIG", "SHELBY_TOKEN"]
    done = make("batch", *(f"{name}=1" for name in names))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_value_of_an_unknown_variable_is_not_executed(tmp_path: Path) -> None:
    done = make("batch", f"COUNTRY=$(shell touch {tmp_path}/ran)")
    assert "unknown setting COUNTRY" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["check", "test", "docs"])
def test_the_name_of_the_clones_folder_is_not_executed(target: str, tmp_path: Path) -> None:
    clone = tmp_path / "c$(touch ran)`touch ran`"
    clone.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    scripts = (
        "check",
        "test",
        "docs",
        "install_venv",
        "install_postgis",
        "install_node",
        "install_pgbouncer",
        "install_chromium",
        "build_page",
    )
    (clone / "scripts").mkdir()
    for name in scripts:  # they only say where they look for programs
        (clone / "scripts" / f"{name}.sh").write_text('mkdir -p .venv; echo "$PATH"\n')
    done = subprocess.run(
        ["make", target], cwd=clone, capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
    )  # fmt: skip
    assert f"{clone}/.venv/bin:" in done.stdout
    assert list(tmp_path.rglob("ran")) == []


@pytest.mark.parametrize("where", ["environment", "command line"])
@pytest.mark.parametrize(
    "hostile",
    ["p$(touch ran)", "`touch ran`", '"; touch ran; "', "$(shell touch ran)", "a b;touch ran"],
)
@pytest.mark.parametrize("name", ["PYTHON", "VENV", "LOTLINE_HOME", "COUNTY", "OUT", "X_TOKEN"])
def test_a_value_is_not_executed_and_arrives_as_typed(
    name: str, hostile: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for file in ("requirements.lock", "pyproject.toml"):
        (tmp_path / file).touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for script in ("scripts/install_venv.sh", "scripts/install_postgis.sh", ".venv/bin/lotline"):
        path = tmp_path / script
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} is ${name}"\n')
        path.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    typed = [f"{name}={hostile}"] if where == "command line" else []
    done = subprocess.run(
        ["make", "batch", *typed], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=env if typed else {**env, name: hostile},
    )  # fmt: skip
    assert list(tmp_path.rglob("ran")) == []
    if typed and name == "VENV":
        assert "VENV may have letters, digits and . _ + / - only" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        value = ".venv" if name == "VENV" else hostile  # the environment does not set it
        assert done.stdout.splitlines() == [f"{name} is {value}"] * 3


@pytest.mark.parametrize(
    "folder", ["c$(touch ran)", "c`touch ran`", 'c"; touch ran; "', "c\\", "c:d", "c\n$(touch ran)"]
)
def test_a_venv_is_not_made_where_its_programs_would_be_commands(
    folder: str, tmp_path: Path
) -> None:
    clone = tmp_path / folder
    clone.mkdir()
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / "install_venv.sh"), ".venv"], cwd=clone, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "move the clone to another folder" in done.stderr
    assert list(tmp_path.rglob("ran")) == []
    assert list(clone.iterdir()) == []


@pytest.mark.parametrize("version", ["2.7.18", "3.10.13", "3.14.0"])
def test_a_python_that_does_not_fit_is_named_with_those_that_do(
    version: str, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} && exit 0\nexit 1\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", "scripts/install_venv.sh", str(tmp_path / "venv")], cwd=ROOT, capture_output=True,
        text=True, check=False, env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
    )  # fmt: skip
    assert done.returncode == 2
    assert f"Python {version} does not fit" in done.stderr
    assert "3.11, 3.12 or 3.13" in done.stderr
    assert "PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()
