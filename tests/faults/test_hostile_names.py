"""County names that are paths, commands or YAML are refused everywhere; nothing is executed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parcels import load_registry
from parcels.catalogue.add_county import add_county
from parcels.catalogue.edit_registry import add_entry, set_keys
from parcels.catalogue.import_layers import import_layers
from parcels.errors import RegistryError

ROOT = Path(__file__).resolve().parents[2]
LOTLINE = Path(sys.executable).with_name("lotline")

NAMES = [
    "../../x",
    "../shelby",
    "/etc/passwd",
    "a;rm",
    "a;touch ran",
    "$(touch ran)",
    "`touch ran`",
    "a\nb",
    "a\0b",
    "-rf",
    "a b/../c",
    "a'b\"c",
    "%00",
    "x" * 500,
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_county_names_are_unknown(name: str) -> None:
    with pytest.raises(RegistryError, match="no county"):
        load_registry().county(name)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_entry_names_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(f"counties:\n  {json.dumps(name)}: {{path: x}}\n")
    with pytest.raises(RegistryError) as caught:
        load_registry(file)
    assert "write the county's name with a-z" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_add_refuses_hostile_names(tmp_path: Path, name: str) -> None:
    file = tmp_path / "registry.yaml"
    with pytest.raises(RegistryError, match="write the county's name with a-z"):
        add_county(name, "https://gis.example.gov/x/MapServer/0", file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\nb", "a: {path: /etc}\n  b", "&x", "*x", "{a", "- a", "#a"])
def test_names_are_never_parsed_as_yaml(tmp_path: Path, name: str) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text("counties:\n  here: {path: x}\n")
    with pytest.raises(RegistryError):
        add_entry(file, name, ["path: y"])
    with pytest.raises(RegistryError):
        set_keys(file, {name: {"verified": "2026-05-31"}})
    assert file.read_text() == "counties:\n  here: {path: x}\n"


@pytest.mark.parametrize("name", ["$(touch ran)", "a;rm", "...", "'; drop table"])
def test_imported_names_are_slugs_or_dropped(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "sources" / "us" / "co"
    folder.mkdir(parents=True)
    layer = {"data": "https://gis.example.gov/x/MapServer/0", "protocol": "ESRI", "name": "county"}
    coverage = {"county": f"../{name}\n  evil: {{path: /etc}}", "state": "co"}
    content = {"schema": 2, "coverage": coverage, "layers": {"parcels": [layer]}}
    (folder / f"{name}.json").write_text(json.dumps(content))
    good = {**layer, "data": "https://gis.example.gov/y/MapServer/0"}
    (folder / "mesa.json").write_text(json.dumps({"layers": {"parcels": [good]}}))
    done = import_layers(tmp_path, tmp_path / "out.yaml")
    written = load_registry(done.file)
    assert "mesa-co" in written
    assert set(written) == set(done.keys)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in written)
    assert len(written) + sum(drop.what == "layer" for drop in done.dropped) == 2


@pytest.mark.parametrize(
    ("command", "name"),
    [(["status"], "../../x"), (["export", "--out", "o"], "../../x"), (["batch"], "a;touch ran")],
)
def test_commands_refuse_hostile_names_first(tmp_path: Path, command: list[str], name: str) -> None:
    done = subprocess.run(
        [LOTLINE, *command, "--county", name],
        cwd=tmp_path, env={**os.environ, "LOTLINE_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no county" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_make_passes_the_name_unchanged(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    # What `make batch` runs, without the installation before it.
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"include {ROOT}/Makefile\nrun:\n\t@{LOTLINE} batch\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    for name in ("a;touch ran", "$(shell touch ran)`touch ran`"):
        done = subprocess.run(
            [make, "-f", str(makefile), "run", f"COUNTY={name}"],
            cwd=tmp_path, env={**env, "LOTLINE_HOME": str(tmp_path / "home")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "no county" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
