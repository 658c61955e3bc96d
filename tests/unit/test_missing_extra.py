"""Without an extra's packages, the command and the library say which extra to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from parcels.missing_extra import missing_extra

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# As the command imports them first; `pip install lotline` has none of these.
ABSENT = ("click", "sqlalchemy", "psycopg", "rich", "rasterio", "torch", "affine", "scipy")


def run(code: str, absent: tuple[str, ...] = ABSENT) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which these packages cannot be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); "
    return subprocess.run(
        [sys.executable, "-c", block + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["batch"], ["status", "--json"], ["registry", "list"]],
    ids=" ".join,
)
def test_every_command_of_a_base_install_names_the_extra(arguments: list[str]) -> None:
    done = run(f"from pipeline.cli import main; sys.argv = ['lotline', *{arguments!r}]; main()")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: the Python package click is not installed; it belongs to the extra pipeline: run "
        "pip install 'lotline[pipeline]'\n"
    )


@pytest.mark.parametrize("package", ["sqlalchemy", "psycopg", "rich"])
def test_a_package_that_a_command_imports_late_is_named_too(package: str, tmp_path: Path) -> None:
    arguments = ["status"]
    done = run(
        f"import os; os.environ.update(LOTLINE_HOME={str(tmp_path)!r}); "
        f"from pipeline.cli import main; sys.argv = ['lotline', *{arguments!r}]; main()",
        absent=(package,),
    )
    assert done.returncode == 2
    assert f"error: the Python package {package} is not installed" in done.stderr
    assert "pip install 'lotline[pipeline]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from detection import Detector", "detection"),
        ("from pipeline import run_batch", "pipeline"),
    ],
)
def test_the_library_names_the_extra(code: str, extra: str) -> None:
    done = run(code)
    assert f"pip install 'lotline[{extra}]'" in done.stderr


def test_the_base_library_needs_no_extra() -> None:
    done = run("from parcels import load_registry; print(len(load_registry()))")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "detection"),
        ("huggingface_hub.errors", "detection"),
        ("sqlalchemy.exc", "pipeline"),
        ("ray", "ray"),
    ],
)
def test_the_extra_is_that_of_the_metadata(module: str, extra: str) -> None:
    message = missing_extra(ModuleNotFoundError(name=module))
    assert message is not None
    assert f"lotline[{extra}]" in message


@pytest.mark.parametrize("module", ["numpy", "pipeline.nothing", "somebody_elses", None])
def test_what_no_extra_brings_is_left_alone(module: str | None) -> None:
    assert missing_extra(ModuleNotFoundError(name=module)) is None


def test_extras_give_ranges_and_the_lock_pins() -> None:
    needed = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    assert [line for line in [*PROJECT["dependencies"], *needed] if "==" in line] == []
    pins = (ROOT / "requirements.lock").read_text()
    for name in ("torch", "transformers", "ray"):
        assert f"\n{name}==" in pins
