"""Whether two registry entries describe the same ground."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from detection.registry.county import DetectionCounty
from parcels import load_registry
from parcels.registry.county_source import CountySource, county_source

URL = "https://gis.example.gov/arcgis/rest/services/P/MapServer"
SERVER = f"url: {URL}, layer: 0"


def source(folder: Path, text: str, key: str = "here") -> CountySource:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "registry.yaml"
    file.write_text(f"counties:\n  {key}: {{{text}}}\n")
    return county_source(load_registry(file, DetectionCounty).county(key))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SERVER, f"{SERVER}, labels: {{pool: big pool}}, lot_offset_m: [1, 2]"),
        (SERVER, f'{SERVER}, imagery: {{path: "tiles/*.tif"}}, token: {{env: A_TOKEN}}'),
        (SERVER, f"{SERVER}, name: Somewhere, fields: {{parcel_id: PIN}}, verified: 2026-01-02"),
        (SERVER, f'{SERVER}, state: TN, fips: "47157"'),
        (SERVER, f"url: {URL.upper().replace('HTTPS', 'http')[:-9]}MapServer, layer: 0"),
        (SERVER, f"url: {URL}, layer: 4, alternates: [{{url: {URL}, layer: 0}}]"),
        (f'{SERVER}, fips: "47157"', f'{SERVER}, fips: "47157", where: "TYPE <> \'ROW\'"'),
        ("synthetic: {seed: 1, lots: 9}", "synthetic: {seed: 1, lots: 9}, name: Mine"),
        ("path: lots.gpkg", "path: ./lots.gpkg, crs: EPSG:2274, encoding: cp1252"),
        ("path: lots.gpkg", "path: lots.gpkg, layer: parcels"),
    ],
)
def test_these_entries_are_the_same_ground(tmp_path: Path, one: str, other: str) -> None:
    assert source(tmp_path, one).is_same(source(tmp_path, other))
    assert source(tmp_path, other).is_same(source(tmp_path, one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SERVER, f"url: {URL}, layer: 1"),
        (SERVER, f"url: {URL.replace('/P/', '/Q/')}, layer: 0"),
        (f"{SERVER}, state: TN", f"{SERVER}, state: CA"),
        (f'{SERVER}, fips: "47157"', f'{SERVER}, fips: "47159"'),
        # A state's layer, of which each entry takes one county.
        (f'{SERVER}, where: "CO_NO = 48"', f'{SERVER}, where: "CO_NO = 30"'),
        ("synthetic: {seed: 1, lots: 9}", "synthetic: {seed: 2, lots: 9}"),
        ("synthetic: {seed: 1, lots: 9}", SERVER),
        ("path: lots.gpkg", SERVER),
        ("path: lots.gpkg", "path: others.gpkg"),
        ("path: lots.gpkg, layer: east", "path: lots.gpkg, layer: west"),
    ],
)
def test_these_entries_are_different_ground(tmp_path: Path, one: str, other: str) -> None:
    assert not source(tmp_path, one).is_same(source(tmp_path, other))
    assert not source(tmp_path, other).is_same(source(tmp_path, one))


def test_a_moved_file_is_the_same_ground(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "lots.gpkg").write_bytes(b"lots" * 1000)
    here = source(tmp_path / "a", "path: lots.gpkg")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert source(tmp_path / "b", "path: lots.gpkg").is_same(here)


def test_a_file_that_is_updated_in_its_place_is_the_same_ground(tmp_path: Path) -> None:
    (tmp_path / "lots.gpkg").write_bytes(b"old")
    here = source(tmp_path, "path: lots.gpkg")
    (tmp_path / "lots.gpkg").write_bytes(b"new")
    assert source(tmp_path, "path: lots.gpkg").is_same(here)
    assert source(tmp_path, "path: lots.gpkg").fingerprint != here.fingerprint


def test_files_of_one_name_in_two_folders_are_different_ground(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lots.gpkg").write_bytes(name.encode())
    here = source(tmp_path / "a", "path: lots.gpkg")
    assert not source(tmp_path / "b", "path: lots.gpkg").is_same(here)


def test_the_digest_of_a_large_file_sees_its_middle(tmp_path: Path) -> None:
    content = bytearray(40 * 65_536)
    for name, middle in (("a", 0), ("b", 1)):
        content[len(content) // 2 : len(content) // 2 + 2_000_00] = bytes([middle]) * 2_000_00
        (tmp_path / name).mkdir()
        (tmp_path / name / "lots.gpkg").write_bytes(content)
    one, other = (source(tmp_path / name, "path: lots.gpkg") for name in ("a", "b"))
    assert one.sha256 != other.sha256


def test_a_folder_of_files_has_a_digest_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a" / "lots").mkdir(parents=True)
    (tmp_path / "a" / "lots" / "1.parquet").write_bytes(b"1")
    here = source(tmp_path / "a", "path: lots")
    shutil.copytree(tmp_path / "a" / "lots", tmp_path / "b" / "lots")
    assert source(tmp_path / "b", "path: lots").is_same(here)
    (tmp_path / "b" / "lots" / "2.parquet").write_bytes(b"2")
    assert not source(tmp_path / "b", "path: lots").is_same(here)


@pytest.mark.parametrize(
    "text",
    [
        f'{SERVER}, state: TN, fips: "47157", where: "A = 1"',
        "path: lots.gpkg, layer: a",
        "synthetic: {}",
    ],
)
def test_a_source_is_stored_and_read_back(tmp_path: Path, text: str) -> None:
    here = source(tmp_path, text)
    assert CountySource.from_json({**here.as_json(), "added_later": 1}) == here


def test_descriptions_name_the_layer_the_file_or_the_seed(tmp_path: Path) -> None:
    assert source(tmp_path, f'{SERVER}, state: TN, fips: "47157"').description == (
        "gis.example.gov/arcgis/rest/services/p/mapserver/0 (state TN, FIPS 47157)"
    )
    assert source(tmp_path, "path: lots.gpkg, layer: a").description == (
        f"the file {tmp_path / 'lots.gpkg'} (layer a)"
    )
    assert source(tmp_path, "synthetic: {seed: 5, lots: 12}").description == (
        "a generated county (seed 5, 12 lots)"
    )
