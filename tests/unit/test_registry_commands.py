"""`lotline registry list` and `import`, as a user sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from parcels import load_registry
from pipeline.cli.app import lotline


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(lotline, ["registry", *map(str, args)], catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text(
        "counties:\n"
        "  here: {path: lots.gpkg, name: Here, state: CO, verified: 2026-05-31}\n"
        "  mesa-co: {verified: 2026-05-30}\n"
    )
    return path


def test_list_prints_the_counties_of_the_file(file: Path) -> None:
    done = run("list", "--registry", file)
    first, second = done.stdout.splitlines()
    assert first == f"here     Here                              {file.parent / 'lots.gpkg'}"
    assert second.startswith("mesa-co  Mesa County  verified 2026-05-30  https://")
    shipped = run("list", "--registry", file, "--state", "CO").stdout.splitlines()
    assert any(
        re.match(r"montrose-co +Montrose County +not verified +https://", s) for s in shipped
    )
    starts = {line.index("https://") for line in shipped if "https://" in line}
    assert len(starts) == 1, "the columns are aligned"
    assert done.stderr == ("plus 1,018 shipped US layers: list them with --all or --state CO\n")


@pytest.mark.parametrize("state", ["CO", "co", "Colorado"])
def test_list_prints_the_counties_of_a_state(file: Path, state: str) -> None:
    keys = [
        line.split()[0]
        for line in run("list", "--registry", file, "--state", state).stdout.splitlines()
    ]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys)) > 30
    assert {"here", "mesa-co", "montrose-co"} <= set(keys)
    assert "shelby-al" not in keys


def test_list_prints_all_counties_as_json(file: Path) -> None:
    counties = {
        c["key"]: c for c in json.loads(run("list", "--registry", file, "--all", "--json").stdout)
    }
    assert len(counties) == 1_018 + 2
    assert counties["montrose-co"] == {
        "key": "montrose-co",
        "name": "Montrose County",
        "state": "CO",
        "fips": "08085",
        "parcels": counties["montrose-co"]["parcels"],
        "fields": {"parcel_id": "ASSESSORSI"},
        "verified": None,
        "shipped": True,
    }
    assert counties["mesa-co"]["shipped"] is False
    assert counties["mesa-co"]["verified"] == "2026-05-30"


def test_an_unknown_state_is_an_error(file: Path) -> None:
    done = run("list", "--registry", file, "--state", "Ontario")
    assert done.exit_code == 2
    assert "'Ontario' is not a US state; write for example CO" in done.stderr


def test_import_prints_the_counts_and_the_file_of_skipped_layers(tmp_path: Path) -> None:
    folder = tmp_path / "sources" / "us" / "co"
    folder.mkdir(parents=True)
    layer = {
        "name": "county",
        "data": "https://gis.example.gov/arcgis/rest/services/P/MapServer/0",
        "protocol": "ESRI",
        "conform": {"pid": "OBJECTID"},
    }
    (folder / "montrose.json").write_text(json.dumps({"layers": {"parcels": [layer]}}))
    other = {**layer, "data": "https://gis.example.gov/parcels.zip", "protocol": "http"}
    (folder / "mesa.json").write_text(json.dumps({"layers": {"parcels": [other]}}))
    out = tmp_path / "layers.yaml"
    done = run("import", tmp_path, "--out", out)
    assert done.stdout.splitlines() == [
        f"imported 1 of 2 layers into {out}",
        "skipped 1 layer, and 1 detail (a code or a column) of imported layers; reasons: "
        f"{tmp_path / 'layers.dropped.csv'}",
    ]
    skipped = (tmp_path / "layers.dropped.csv").read_text()
    assert (
        "https://gis.example.gov/parcels.zip,is not an ArcGIS layer; protocol: http"
        in skipped.replace('"', "")
    )
    assert "OBJECTID,is not a parcel id" in skipped
    assert set(load_registry(out)) == {"montrose-co"}
