"""The registry keys that detection owns: validated by DetectionCounty, only carried by County."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import parcels
from detection import open_imagery
from detection.imagery import ImageServer
from detection.registry.county import DetectionCounty
from detection.registry.imagery_entry import USGS_NAIP_URL
from detection.registry.label_entry import LabelEntry
from parcels import load_registry
from parcels.errors import RegistryError
from parcels.registry.unparsed_value import UnparsedValue
from pipeline.cli.app import lotline

URL = "https://gis.example.gov/arcgis/rest/services/P/MapServer"


def write(folder: Path, text: str) -> Path:
    file = folder / "registry.yaml"
    file.write_text(f"counties:\n  here: {{{text}}}\n")
    return file


def entry(folder: Path, text: str) -> DetectionCounty:
    return load_registry(write(folder, text), DetectionCounty).county("here")


def test_the_imagery_of_shelby_is_usgs_naip() -> None:
    shelby = load_registry(None, DetectionCounty)["shelby"]
    assert shelby.imagery.bands == ("red", "green", "blue", "nir")


def test_imagery_defaults_to_usgs_naip(tmp_path: Path) -> None:
    imagery = entry(tmp_path, f"url: {URL}/, layer: 3").imagery
    assert imagery.url == USGS_NAIP_URL
    assert imagery.gsd_m == 0.6


def test_the_imagery_path_is_relative_to_the_file(tmp_path: Path) -> None:
    county = entry(tmp_path, 'path: a/lots.gpkg, imagery: {path: "b/*.tif"}')
    assert county.imagery.path == str(tmp_path / "b/*.tif")


def test_keys_that_detection_owns(tmp_path: Path) -> None:
    county = entry(
        tmp_path,
        "path: x, lot_offset_m: [1.5, -2], line_tolerance_m: 2.5, "
        "imagery: {path: y, chip_gsd_m: 0.3}, "
        "labels: {trampoline: round  trampoline, lawn: {min_area_m2: 10}}",
    )
    assert (county.lot_offset_m, county.line_tolerance_m) == ((1.5, -2.0), 2.5)
    assert county.imagery.chip_gsd_m == 0.3
    assert county.labels == {
        "trampoline": LabelEntry(prompt="round trampoline"),
        "lawn": LabelEntry(min_area_m2=10),
    }
    without = entry(tmp_path, "path: x")
    assert (without.lot_offset_m, without.line_tolerance_m, without.labels) == ((0, 0), None, {})


def test_old_label_keys_are_accepted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    county = entry(tmp_path, "path: x, labels: {lawn: {least_score: 0.4}}")
    assert county.labels == {"lawn": LabelEntry(score_threshold=0.4)}
    assert "'least_score' is now called 'score_threshold'" in caplog.text
    with pytest.raises(RegistryError, match="'least_score' is the old name of 'score_threshold'"):
        entry(tmp_path, "path: x, labels: {lawn: {least_score: 0.4, score_threshold: 0.5}}")


def test_chip_gsd_m_alone_uses_naip(tmp_path: Path) -> None:
    imagery = entry(tmp_path, "path: x, imagery: {chip_gsd_m: 0.5}").imagery
    assert (imagery.url, imagery.gsd_m, imagery.chip_gsd_m) == (USGS_NAIP_URL, 0.6, 0.5)


def test_capture_dates_that_yaml_reads_as_numbers_or_dates(tmp_path: Path) -> None:
    year = entry(tmp_path, "path: x, imagery: {path: y, captured_on: 2020}")
    assert year.imagery.captured_on == "2020"
    date = entry(tmp_path, "path: x, imagery: {path: y, captured_on: 2020-05-31}")
    assert date.imagery.captured_on == "2020-05-31"


MISTAKES = pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path: x, imagery: {}", "'imagery': write either 'path' (GeoTIFFs) or 'url'"),
        ("path: x, imagery: {url: http://h/x}", "'imagery.url': must end with /ImageServer"),
        ("path: x, imagery: {path: y, captured_on: May}", "'imagery.captured_on': 'May' is not"),
        ("path: x, lot_offset_m: [1, 2, 3]", "'lot_offset_m': write [east, north] in metres"),
        ("path: x, lot_offset_m: [99, 0]", "'lot_offset_m': write [east, north] in metres, from -"),
        ("path: x, lot_offset_m: 2", "'lot_offset_m': write [east, north] in metres"),
        ("path: x, line_tolerance_m: -1", "'line_tolerance_m': -1 is wrong; write metres, from 0"),
        ("path: x, imagery: {path: y, chip_gsd_m: 0}", "'imagery.chip_gsd_m': 0 is wrong; write m"),
        ("path: x, labels: {lawn: {knd: x}}", "'labels.lawn.knd' is not a key; did you mean 'kin"),
        ("path: x, labels: {lawn: {kind: x}}", "'labels.lawn.kind': 'x' is wrong; write discrete"),
        ("path: x, labels: {A b: x}", "'labels': 'A b' is not a label name; write a-z, digits"),
        ("path: x, labels: {lawn: ''}", "'labels.lawn.prompt': write a few words that name the o"),
        ("path: x, labels: [lawn]", "'labels': write a name and a prompt for each label, such as"),
        ("path: x, imagery: {path: '/**'}", "'imagery.path': '/**' searches the whole machine"),
        ("path: x, imagery: {path: '/*/a.tif'}", "'imagery.path': '/*/a.tif' searches the whole"),
    ],
)


@MISTAKES
def test_a_mistake_is_reported_with_file_county_and_fix(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RegistryError) as caught:
        entry(tmp_path, text)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'registry.yaml'}: county 'here': {message}")


@MISTAKES
def test_county_carries_what_it_does_not_own(tmp_path: Path, text: str, message: str) -> None:
    county = load_registry(write(tmp_path, text))["here"]
    carried = [county.imagery, county.labels, county.lot_offset_m, county.line_tolerance_m]
    [value] = [value for value in carried if value is not None]
    assert isinstance(value, UnparsedValue)
    assert value.folder == tmp_path


@pytest.mark.parametrize("text", ["{}", "null", "{bandz: x}", "{path: x, gsd_m: 0, bands: 3}"])
def test_open_imagery_reports_the_same_mistakes_later(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, f"path: x, imagery: {text}")
    with pytest.raises(RegistryError) as at_load:
        load_registry(file, DetectionCounty)
    county = load_registry(file)["here"]
    with pytest.raises(RegistryError) as at_open:
        open_imagery(county.imagery)
    assert str(at_open.value) == str(at_load.value)


def test_open_imagery_takes_a_plain_county(tmp_path: Path) -> None:
    default = open_imagery(load_registry(write(tmp_path, "path: x"))["here"].imagery)
    assert isinstance(default, ImageServer)
    assert default.url == USGS_NAIP_URL
    shelby = open_imagery(load_registry()["shelby"].imagery)
    assert isinstance(shelby, ImageServer)
    assert shelby.url == USGS_NAIP_URL


def test_the_registry_commands_report_a_mistake_in_imagery(tmp_path: Path) -> None:
    file = write(tmp_path, "path: x, imagery: {gsd_m: 0}")
    done = CliRunner().invoke(lotline, ["registry", "list", "--registry", str(file)])
    assert isinstance(done.exception, RegistryError)
    assert f"{file}: county 'here': 'imagery.gsd_m': 0 is wrong" in str(done.exception)


def test_parcels_parses_no_imagery_and_no_labels() -> None:
    folder = Path(parcels.__file__).parent
    source = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))
    for word in ("ImageryEntry", "LabelEntry", "USGSNAIP", "captured_on", "chip_gsd_m", "prompt"):
        assert word not in source, word
    code = (
        "import sys; from parcels import load_registry; load_registry()['shelby']; "
        "assert not any(name.split('.')[0] == 'detection' for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
