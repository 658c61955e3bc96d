"""`lotline doctor` beside real servers, a real database and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from servers.scripted import Call, Reply, scripted
from servers.table import Table, lots_in_a_row, table_server
from sqlalchemy import text

from pipeline.cli.app import lotline
from pipeline.doctor import torch_probe
from pipeline.doctor.services import county_rows, database_rows
from pipeline.settings import Settings
from pipeline.store import schema
from pipeline.store.database import Database

_TABLE = Table({"OBJECTID": "esriFieldTypeOID"}, lots_in_a_row(3))


def registry_of(folder: Path, **urls: str) -> Path:
    file = folder / "registry.yaml"
    entries = [
        f"  {key}:\n    url: {url}\n    layer: 0\n    allow_private: true\n"
        for key, url in urls.items()
    ]
    file.write_text(
        "counties:\n" + "".join(entries) + "  own:\n    synthetic: {seed: 1, lots: 9}\n"
    )
    return file


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Path]:
    """A registry of a server that answers, one that hangs, one that is no ArcGIS and one down."""
    released = threading.Event()

    def hangs(_: Call) -> Reply:
        released.wait(60)
        return Reply()

    with ExitStack() as stack:
        good = stack.enter_context(table_server(_TABLE))
        slow = stack.enter_context(scripted(hangs))
        other = stack.enter_context(scripted(lambda _: Reply(b'{"error": {"code": 404}}')))
        with scripted(lambda _: Reply()) as closed:
            down = closed.url
        yield registry_of(tmp_path, good=good.url, slow=slow.url, other=other.url, down=down)
        released.set()


def test_each_countys_server_is_asked(servers: Path) -> None:
    rows = {row.check: row for row in county_rows(
        ("good", "other", "own"), servers, offline=False, limit_s=60.0
    )}  # fmt: skip
    assert list(rows) == ["registry", "county good", "county other", "county own"]
    assert rows["registry"].level == rows["county good"].level == rows["county own"].level == "ok"
    assert "5 counties" in rows["registry"].found
    assert "(Parcels) answers in" in rows["county good"].found
    assert rows["county other"].level == "problem"  # it was named
    assert "lotline registry verify other" in rows["county other"].cure
    assert [row.check for row in county_rows((), servers, offline=True)] == ["registry"]


def test_a_server_that_hangs_or_is_down_is_not_waited_for(servers: Path) -> None:
    rows = county_rows((), servers, offline=False, limit_s=1.0)
    assert [row.check for row in rows[1:]] == [
        "county good", "county slow", "county other", "county down",
    ]  # fmt: skip
    for row in (rows[2], rows[4]):
        assert row.level == "warning", row
        assert "lotline registry verify" in row.cure


def test_a_registry_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("counties:\n  here: {url: 'https://x.example'}\n")
    [row] = county_rows((), file, offline=False)
    assert (row.check, row.level) == ("registry", "problem")
    assert "here" in row.found
    [row] = county_rows(("nowhere",), None, offline=True)
    assert row.level == "problem"
    assert "nowhere" in row.found


def test_a_database_at_the_head(database: Database, tmp_path: Path) -> None:
    [row] = database_rows(Settings(database_url=database.url, home=tmp_path))
    assert row.level == "ok"
    assert f"revision {schema.code_revisions()[-1]}" in row.found
    assert "PostGIS 3" in row.found


def test_a_database_of_an_older_version(database: Database, tmp_path: Path) -> None:
    older = schema.code_revisions()[-2]
    with database.engine.begin() as connection:
        connection.execute(
            text("UPDATE lotline.alembic_version SET version_num = :older"), {"older": older}
        )
    [row] = database_rows(Settings(database_url=database.url, home=tmp_path))
    assert (row.level, row.cure) == ("problem", "lotline db upgrade")


def test_an_empty_database_and_one_that_is_down(empty_database: Database, tmp_path: Path) -> None:
    [row] = database_rows(Settings(database_url=empty_database.url, home=tmp_path))
    assert row.level == "ok"
    with empty_database.engine.connect() as connection:  # nothing was created
        assert schema.database_revision(connection) is None
    url = "postgresql://ann:hidden-word@127.0.0.1:1/lots"
    [row] = database_rows(Settings(database_url=url, home=tmp_path))
    assert row.level == "problem"
    assert "cannot be reached" in row.found
    assert "hidden-word" not in row.found
    assert "DATABASE_URL" in row.cure


def test_without_a_database_nothing_is_created(tmp_path: Path) -> None:
    [row] = database_rows(Settings(home=tmp_path / "home"))
    assert row.level == "ok"
    assert "not created yet" in row.found
    assert not (tmp_path / "home").exists()


# Answers like the probe, without the seconds that torch takes to load.
PROBE = """
import json, sys
for asked in json.load(sys.stdin):
    torch = {"torch": "2.13", "cuda": "12.8", "hip": None, "mps": False, "threads": 2, "error": "",
             "gpus": [{"name": "NVIDIA X", "capability": "9.0", "free_gib": 20.0,
                       "total_gib": 24.0, "bf16": True}]}
    weights = {"name": asked[0], "error": "", "sha256": "5a" * 32, "seconds": 0.1}
    print(json.dumps(torch if asked == "torch" else weights), flush=True)
"""


def test_the_exit_code_says_whether_the_default_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch_probe, "_PROBE", [sys.executable, "-c", PROBE])
    for name in ("DATABASE_URL", "SAM3_WEIGHTS", "LANDCOVER_WEIGHTS", "LOTLINE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(lotline, ["doctor", "--offline"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert any("gpu: NVIDIA X: 20.0 of 24.0 GiB free" in line for line in lines)
    assert any(line.startswith("ok       tier heads: fits: 20.0 GiB free") for line in lines)
    assert lines[-1].startswith("0 problems, ")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:hidden-word@127.0.0.1:1/lots")
    done = CliRunner().invoke(lotline, ["doctor", "--offline", "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["healthy"] is False
    assert [row["check"] for row in report["checks"] if row["level"] == "problem"] == ["database"]
    assert "hidden-word" not in done.output


@pytest.mark.long
def test_the_command_on_this_machine(tmp_path: Path) -> None:
    """All checks, with the real weights."""
    environment = {
        name: value for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "SAM3_WEIGHTS", "LANDCOVER_WEIGHTS", "HF_TOKEN"}
    }  # fmt: skip
    environment |= {
        "LOTLINE_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hub"),
        "HF_TOKEN": "hf_neverprintedneverprinted", "SAM3_WEIGHTS": str(tmp_path / "nothing"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    main = "from pipeline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, "doctor", "--offline", "--json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "neverprinted" not in done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["healthy"] is True
    rows = {row["check"]: row for row in report["checks"]}
    assert {row["level"] for row in rows.values()} <= {"ok", "warning"}
    assert all(row["cure"] for row in rows.values() if row["level"] != "ok")
    for check in ("python", "extras", "cpu", "memory", "disk", "torch", "gpu", "database"):
        assert check in rows, check
    assert "load in" in rows["segmenter landcover"]["found"]
    assert "load in" in rows["segmenter sam3-tiny"]["found"]
    assert rows["segmenter sam3"]["level"] == "warning"
    assert "does not exist" in rows["segmenter sam3"]["found"]
    assert "tier heads" in rows
    assert not (tmp_path / "home").exists()
