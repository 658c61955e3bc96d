"""`Detector.for_county` gives what a batch writes: areas, statuses and caveats of every lot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from detection import Detector, LotResult, sample
from parcels import County, NoBoundary, ParcelBoundaryService, Property, load_registry
from pipeline import BatchRequest, run_batch
from pipeline.batch.result import BatchReport
from pipeline.properties_csv import read_properties
from pipeline.report.advice import segmenter_notes
from pipeline.settings import Settings
from pipeline.store.database import Database

ROOT = Path(__file__).resolve().parent.parent.parent
# Settings that change every area: Python has to know them all.
SETTINGS = (
    "    lot_offset_m: [1.5, -1]\n    line_tolerance_m: 0.5\n"
    "    labels:\n      lawn: {min_area_m2: 40}\n      tree: {simplify_share: 0.02}\n"
)
# Areas of measurements, and what is said of the imagery; no row if there is no result.
_STORED = text("""
SELECT p.property_id, p.state, p.reason, p.coverage_fraction, c.captured_on, c.gsd_m, c.sources,
    (SELECT jsonb_object_agg(m.label, m.area_m2) FROM lotline.measurement m
     WHERE m.property_fk = p.id AND m.current) AS areas_m2
FROM lotline.property p LEFT JOIN lotline.chip c ON c.sha256 = p.chip_sha256
WHERE p.county = :county
""")


def batch_rows(
    database: Database, home: Path, request: BatchRequest
) -> tuple[dict[str, dict[str, Any]], BatchReport]:
    """What a batch wrote, by property id, and its report."""
    report = run_batch(request, Settings(database_url=database.url, home=home))
    with database.engine.connect() as conn:
        rows = conn.execute(_STORED, {"county": request.county}).mappings()
        return {row["property_id"]: dict(row) for row in rows}, report


def python_results(
    county: County, segmenter: str, properties: Path
) -> tuple[dict[str, LotResult], Detector]:
    """The results of the README's way, by property id."""
    rows: list[Property] = list(read_properties(properties).properties)
    boundaries = ParcelBoundaryService(county).boundaries(rows)
    detector = Detector.for_county(county, segmenter)
    assert not all(isinstance(each, NoBoundary) for each in boundaries)
    results = detector.detect(boundaries)
    return {row.property_id: result for row, result in zip(rows, results, strict=True)}, detector


def assert_equal(stored: dict[str, dict[str, Any]], results: dict[str, LotResult]) -> None:
    """Each lot has the same status, areas and imagery in both."""
    assert stored.keys() == results.keys()
    states = {"detected": "done", "no_imagery": "no_imagery", "no_boundary": "failed"}
    for property_id, result in results.items():
        row = stored[property_id]
        assert row["state"] == states[result.status], property_id
        if result.status != "detected":
            assert row["areas_m2"] is None
            assert row["reason"] == result.reason
            continue
        assert result.areas_m2 == pytest.approx(row["areas_m2"], rel=1e-9, abs=1e-9), property_id
        assert result.areas_m2.keys() == row["areas_m2"].keys()
        assert result.coverage_fraction == pytest.approx(row["coverage_fraction"], rel=1e-12)
        assert result.chip is not None
        assert (result.chip.captured_on, result.chip.gsd_m) == (row["captured_on"], row["gsd_m"])
        assert list(result.chip.sources) == row["sources"]


def found(results: dict[str, LotResult], label: str) -> float:
    return sum(result.areas_m2.get(label, 0.0) for result in results.values())


def assert_same_caveats(detector: Detector, report: BatchReport) -> None:
    assert detector.caveats
    assert report.run.segmenter == detector.segmenter.name
    [note] = segmenter_notes([report.run.segmenter])
    assert all(caveat in note for caveat in detector.caveats)
    assert detector.imagery is not None
    assert list(dict.fromkeys(detector.imagery.notes)) == list(report.run.imagery_notes)


@pytest.mark.parametrize("segmenter", ["spectral", "sam3-tiny"])
def test_over_a_synthetic_county(database: Database, tmp_path: Path, segmenter: str) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        f"counties:\n  made:\n    synthetic: {{seed: 5, lots: 12}}\n{SETTINGS}"
        f"  plain:\n    synthetic: {{seed: 5, lots: 12}}\n"
    )
    stored, report = batch_rows(
        database, tmp_path / "home", BatchRequest("made", registry, segmenter=segmenter)
    )
    county = sample.generated_county(load_registry(registry).county("made"), tmp_path / "files")
    assert county.properties is not None
    results, detector = python_results(county, segmenter, county.properties)
    # The files of Python's county are in another folder.
    for row in stored.values():
        row["sources"] = _in(tmp_path / "files", row["sources"])
    assert_equal(stored, results)
    assert_same_caveats(detector, report)
    # The entry's settings matter here.
    plain = sample.generated_county(load_registry(registry).county("plain"), tmp_path / "files")
    other, _ = python_results(plain, segmenter, county.properties)
    assert abs(found(other, "lawn") - found(results, "lawn")) > 1


def _in(folder: Path, sources: list[str] | None) -> list[str] | None:
    return None if sources is None else [
        str(folder / "imagery" / Path(source).name) for source in sources
    ]  # fmt: skip


def test_over_a_real_neighbourhood(
    database: Database, tmp_path: Path, real_registry: Path, real_data: Path
) -> None:
    stored, report = batch_rows(
        database, tmp_path, BatchRequest("claremont", real_registry, segmenter="spectral")
    )
    county = load_registry(real_registry).county("claremont")
    assert county.properties is not None
    results, detector = python_results(county, "spectral", county.properties)
    assert_equal(stored, results)
    assert_same_caveats(detector, report)
    assert found(results, "lawn") > 1000


def test_the_code_of_the_readme_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a synthetic county in place of the README's, and a point in one of its lots."""
    registry = tmp_path / "registry.yaml"
    registry.write_text("counties:\n  made: {synthetic: {seed: 5, lots: 12}}\n")
    made = sample.generated_county(load_registry(registry).county("made"), tmp_path / "files")
    registry.write_text(
        f"counties:\n  shelby:\n    path: {made.path}\n"
        f"    imagery: {{path: {made.imagery.path!r}}}\n"
    )
    assert made.properties is not None
    [first, *_] = read_properties(made.properties).properties
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.+?)```", readme, re.DOTALL)
    assert len(blocks) == 3
    code = "\n".join(blocks[:2])
    for written, here in (
        ("load_registry()", f"load_registry({str(registry)!r})"),
        ("longitude=-89.9711", f"longitude={first.longitude}"),
        ("latitude=35.1175", f"latitude={first.latitude}"),
    ):
        assert code.count(written) == 1
        code = code.replace(written, here)
    names: dict[str, Any] = {}
    exec(code, names)
    shown = capsys.readouterr().out
    assert "lawn" in shown
    assert "trained on aerial images of six places in California" in shown  # its caveat
    assert names["result"].status == "detected"
