"""`Detector.for_county`: imagery, labels, lot lines and pixel size are those of the entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import at, only, painted
from rasters import ThresholdSegmenter, boundary

from detection import LABELS, Detector
from detection.errors import DetectionError, ImageryError, LabelError
from detection.registry.county import DetectionCounty, detection_county
from parcels import County, load_registry
from parcels.errors import RegistryError

ENTRY = (
    "    lot_offset_m: [5, 0]\n    line_tolerance_m: 0.25\n"
    '    imagery: {path: "*.tif", chip_gsd_m: 1.0, captured_on: 2019}\n'
    "    labels:\n      lawn: {min_area_m2: 100}\n"
)


def county(folder: Path, entry: str = ENTRY) -> County:
    """A county as `load_registry()` gives it: the keys of detection are not parsed."""
    file = folder / "registry.yaml"
    file.write_text(f"counties:\n  here:\n    path: lots.geojson\n{entry}")
    return load_registry(file).county("here")


def test_the_settings_of_the_entry_apply(tmp_path: Path) -> None:
    # 600 m² at the lot where the imagery shows it, 5 m east; 64 m² beside it, below the minimum.
    painted(tmp_path, (110, 100, 40, 60), (160, 100, 16, 16))
    lot = boundary(at(90, 90, 80, 90))
    segmenter = ThresholdSegmenter()
    detector = Detector.for_county(county(tmp_path), segmenter, ["lawn"])
    result = only(detector.detect([lot]))
    assert result.areas_m2 == pytest.approx({"lawn": 600}, rel=0.002)
    assert result.chip is not None
    assert (result.chip.captured_on, result.chip.gsd_m, result.chip.chip_gsd_m) == (
        "2019", 0.5, 1.0,
    )  # fmt: skip
    assert (detector.lines.offset_m, detector.lines.tolerance_m) == ((5.0, 0.0), 0.25)
    assert (result.labels, result.segmenter, result.caveats) == (("lawn",), "threshold", ())


def test_the_default_is_every_label_that_the_segmenter_detects(tmp_path: Path) -> None:
    painted(tmp_path)
    detector = Detector.for_county(county(tmp_path), "spectral")
    assert detector.labels is not None
    assert [label.name for label in detector.labels] == ["lawn", "tree", "vegetation"]
    [caveat] = detector.caveats
    assert "not SAM3" in caveat
    result = only(detector.detect([boundary(at(90, 90, 80, 90))]))
    assert result.areas_m2.keys() == {"lawn", "tree", "vegetation"}
    assert result.caveats == detector.caveats


def test_own_labels_and_labels_of_the_county(tmp_path: Path) -> None:
    painted(tmp_path)
    entry = f"{ENTRY}      shed: garden shed\n"
    segmenter = ThresholdSegmenter()
    segmenter.labels = None
    detector = Detector.for_county(county(tmp_path, entry), segmenter, ["shed"], ["lawn=dry grass"])
    assert detector.labels is not None
    assert [(label.prompt, label.min_area_m2) for label in detector.labels] == [
        ("garden shed", 1.0), ("dry grass", 100.0),
    ]  # fmt: skip
    assert detector.caveats[-1].endswith("accuracy is untested: shed, lawn")


def test_a_label_that_the_segmenter_cannot_detect_is_refused(tmp_path: Path) -> None:
    painted(tmp_path)
    with pytest.raises(LabelError, match="spectral-2 cannot detect 'pool'"):
        Detector.for_county(county(tmp_path), "spectral", ["pool"])


def test_mistakes_in_the_entry_are_named_with_file_and_key(tmp_path: Path) -> None:
    wrong = county(tmp_path, "    lot_offset_m: [500, 0]\n    labels: {lawn: {kind: round}}\n")
    with pytest.raises(RegistryError) as error:
        Detector.for_county(wrong)
    assert f"{tmp_path / 'registry.yaml'}: county 'here': 'lot_offset_m': write" in str(error.value)
    assert "'labels.lawn.kind': 'round' is wrong; write discrete" in str(error.value)


def test_a_synthetic_county_says_how_to_generate_it() -> None:
    with pytest.raises(ImageryError, match="generated_county"):
        Detector.for_county(load_registry().county("sample"))


def test_without_a_county_imagery_and_labels_are_needed(tmp_path: Path) -> None:
    imagery = painted(tmp_path)
    with pytest.raises(DetectionError, match=r"Detector\.for_county"):
        Detector(ThresholdSegmenter()).detect([], imagery)
    assert Detector(ThresholdSegmenter()).detect([], imagery, [LABELS["lawn"]]) == []


def test_every_key_survives_the_validation_of_detection(tmp_path: Path) -> None:
    """A county of `parcels` gives the same as one loaded as `DetectionCounty`."""
    file = tmp_path / "registry.yaml"
    file.write_text(
        "counties:\n  here:\n    url: https://gis.example.gov/arcgis/rest/services/P/MapServer\n"
        "    layer: 3\n    fields: {parcel_id: PIN, street: [DIR, NAME]}\n    where: X = 1\n"
        "    headers: {Referer: https://example.gov}\n    token: {env: TOKEN}\n"
        "    extent: [-91, 34, -89, 36]\n    verified: 2026-05-31\n    fips: '06037'\n"
        '    imagery: {path: "tiles/*.tif"}\n    properties: leads.csv\n    allow_private: true\n'
    )
    plain, full = (
        load_registry(file).county("here"), load_registry(file, DetectionCounty).county("here"),
    )  # fmt: skip
    assert detection_county(plain) == full
    assert detection_county(full) is full


def test_areas_of_labels(tmp_path: Path) -> None:
    imagery = painted(tmp_path, (100, 100, 40, 60), (150, 100, 10, 60))
    detector = Detector(ThresholdSegmenter())
    lots = [boundary(at(90, 90, 80, 90)), boundary(at(9000, 0, 9, 9)), boundary(at(0, 0, 40, 40))]
    found, missing, empty = detector.detect(lots, imagery, [LABELS["lawn"], LABELS["tree"]])
    assert len(found.detections) == 4
    assert found.areas_m2 == pytest.approx({"lawn": 750, "tree": 750}, rel=0.002)
    assert empty.areas_m2 == {"lawn": 0.0, "tree": 0.0}
    # Not imaged is not an area of 0.
    assert (missing.status, missing.areas_m2) == ("no_imagery", {})
