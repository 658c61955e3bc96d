"""The files of a run: page, data, and a map of bounded size."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from detection import sample
from detection.segmenters import build_segmenter
from detection.segmenters.interface import Segmenter
from pipeline import BatchRequest, run_batch
from pipeline.batch import heartbeat
from pipeline.batch.heartbeat import Heartbeat
from pipeline.report import RunReport, run_outputs
from pipeline.report import map_png as map_module
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of a synthetic county with 12 lots."""
    folder = tmp_path_factory.mktemp("little")
    made = sample.generate(folder / "county", seed=5, lots=12)
    registry = folder / "registry.yaml"
    registry.write_text(
        f"counties:\n  little:\n    name: <i>Little</i>\n    path: {made.parcels}\n"
        f'    imagery: {{path: "{made.imagery}"}}\n    properties: {made.properties}\n'
    )
    return registry


def test_page_and_data_cover_the_run_only(
    county: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int, str]] = []
    draw_map = map_module.map_png

    def counted(path: Path, lots: Any, detections: Any, *others: Any) -> str | None:
        drawn.append((len(lots), detections["property_id"].nunique(), others[2]))
        return draw_map(path, lots, detections, *others)

    monkeypatch.setattr(map_module, "map_png", counted)
    monkeypatch.setattr(run_outputs, "MAX_DRAWN", 6)
    settings = Settings(database_url=database.url, home=tmp_path)
    reports = [
        run_batch(
            BatchRequest(
                "little",
                registry=county,
                segmenter="spectral",
                limit=limit,
                out=tmp_path / str(limit),
            ),
            settings,
        )
        for limit in (4, 9)
    ]
    for limit, report in zip((4, 9), reports, strict=True):
        run = report.run
        assert run is not None
        assert run.properties == report.done == limit
        folder = tmp_path / str(limit)
        stored = RunReport.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
        assert stored == run
        assert report.page_path == folder / "report.html"
        page = report.page_path.read_text(encoding="utf-8")
        assert "&lt;i&gt;Little&lt;/i&gt;" in page
        assert "<i>Little" not in page
        assert f"{limit} of {limit} properties are shown." in page
        # Each chip is encoded once; the stages have times.
        assert run.encoder_calls > 0
        assert {stage.stage for stage in run.stages} >= {"lease", "read", "segment", "write"}
    assert sum(reports[1].status.by_state.values()) > 13
    (few, _, note), (bounded, found_on, bounded_note) = drawn
    assert (few, bounded, found_on) == (4, 6, 6)
    assert "boundaries of the run" not in note
    assert "Shows only 6 neighbouring boundaries of the run" in bounded_note


def test_without_a_folder_nothing_is_written(
    county: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(database_url=database.url, home=tmp_path / "home")
    report = run_batch(
        BatchRequest("little", registry=county, segmenter="spectral", limit=1), settings
    )
    assert report.run is not None
    assert (report.map_path, report.page_path) == (None, None)
    assert not list(tmp_path.glob("*.*"))


def test_a_run_without_properties_does_not_overwrite_files(
    county: Path, database: Database, tmp_path: Path
) -> None:
    settings = Settings(database_url=database.url, home=tmp_path / "home")
    request = BatchRequest("little", registry=county, segmenter="spectral", out=tmp_path / "out")
    other_runs = []

    def build(name: str, weights: str | None) -> Segmenter:
        other_runs.append(run_batch(request, settings))
        return build_segmenter(name, weights)

    report = run_batch(request, settings, build=build)
    [other] = other_runs
    assert other.done > 0
    assert report.done == 0
    assert (report.map_path, report.page_path) == (None, None)
    for name in ("report.html", "report.json", "map.png"):
        assert (tmp_path / "out" / name).exists()
    stored = RunReport.model_validate_json((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert stored == other.run


def test_a_heartbeat_stores_the_metrics(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LEASE_RENEWAL_S", 0.01)
    alive = database.engine.connect()
    alive.detach()
    run_id = lifecycle.start(alive, "little", {}, "synthetic", None)
    alive.commit()
    counted = RunMetrics(encoder_calls=12)
    with (
        Heartbeat(database.engine, run_id, "me", alive, lambda: counted),
        database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn,
    ):
        for _ in range(500):
            run = lifecycle.get_run(conn, run_id)
            if run.beat_at is not None:
                break
            time.sleep(0.01)
    assert (run.state, run.metrics) == ("running", counted)
