"""What is promised of the house: public names, cheap imports, and docs that agree with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pipeline.cli.app import lotline

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("parcels", ("torch", "rasterio", "sqlalchemy", "detection", "pipeline", "matplotlib")),
        ("detection", ("torch", "sqlalchemy", "pipeline", "matplotlib")),
        ("pipeline.cli", ("torch", "rasterio", "geopandas", "matplotlib", "sqlalchemy")),
    ],
)
def test_importing_a_package_does_not_load_what_it_does_not_need(
    package: str, unwanted: tuple[str, ...]
) -> None:
    code = f"import sys, {package}; print(*sorted({set(unwanted)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_pipeline_namespace() -> None:
    import pipeline

    assert pipeline.__all__ == ["BatchReport", "BatchRequest", "PipelineError", "run_batch"]
    for name in pipeline.__all__:
        assert getattr(pipeline, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        pipeline.nothing  # noqa: B018
    assert pipeline.Order is pipeline.BatchRequest  # its earlier name


def test_readme_names_every_command() -> None:
    assert isinstance(lotline, click.Group)
    for name in lotline.commands:
        assert re.search(rf"lotline {name}\b", README), name


def test_docs_and_makefile_name_the_variables_that_batch_reads() -> None:
    reads = {
        str(option.envvar)
        for option in lotline.commands["batch"].params
        if isinstance(option, click.Option)
    }
    exported = re.search(r"^SETTINGS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert exported
    assert set(exported[1].split()) == reads
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    in_docs = set(re.findall(r"^\|[^|]*\| `([A-Z0-9_]+)` \|", settings, re.MULTILINE))
    assert reads <= in_docs


def test_make_runs_nothing_that_a_user_types(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    typed = f"$(shell touch {trap})`touch {trap}`$$HOME;touch {trap}"
    # The tests themselves may be run by make, which hands its own flags down.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"include {ROOT}/Makefile\nshow:\n\t@printenv COUNTY\n")
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", str(makefile), "show", f"COUNTY={typed}"],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == typed
    assert not trap.exists()


def test_the_lock_names_every_dependency_once_and_no_address() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    names = [pin.split("==")[0] for pin in pins]
    assert all("==" in pin and "/" not in pin and "+" not in pin for pin in pins)
    assert len(names) == len(set(names))
    assert "torch==2.13.0" in pins


def test_the_benchmarks_document_is_made_from_the_results() -> None:
    from benchmarks.results import DOCS, document

    assert DOCS.read_text(encoding="utf-8") == document()


def test_modules_fit_in_the_head() -> None:
    sizes = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for package in ("parcels", "detection", "pipeline")
        for path in (ROOT / package).rglob("*.py")
    }
    assert len(sizes) > 40
    assert {path for path, lines in sizes.items() if lines > 420} == set()
