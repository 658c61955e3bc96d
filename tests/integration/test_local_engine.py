"""The local engine: the same rows for any chunk size, in threads and in worker processes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import county_rows
from largecounty import KEY, ODD, TWIN, LargeCounty, crop_imagery, make_county
from segmenters import FreeSegmenter

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.batch.engines import local, pool_tasks
from pipeline.settings import Settings
from pipeline.store.database import Database


class CountingSegmenter(FreeSegmenter):
    """Counts its chips and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.chip_counts: Counter[tuple[float, ...]] = Counter()
        self.batch_sizes: list[int] = []

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        self.chip_counts.update(chip.bounds for chip in chips)
        self.batch_sizes.append(len(chips))
        return super().segment(chips, labels)


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("county"), 1_200)


def _run(
    county: LargeCounty, key: str, database: Database, home: Path
) -> tuple[BatchReport, CountingSegmenter]:
    segmenter = CountingSegmenter()
    request = BatchRequest(key, county.registry, county.properties, segmenter="free")
    settings = Settings(database_url=database.url, home=home)
    return run_batch(request, settings, build=lambda *_: segmenter), segmenter


def test_rows_do_not_depend_on_chunks_or_worker_processes(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MIN_LOTS_FOR_PROCESSES", 10_000)
    one_chunk, one_segmenter = _run(county, KEY, database, tmp_path)
    assert one_chunk.done > 1_200

    monkeypatch.setattr(local, "_MIN_LOTS_FOR_PROCESSES", 1)
    monkeypatch.setattr(local, "_cores", lambda: 2)
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 90)
    many_chunks, many_segmenter = _run(county, TWIN, database, tmp_path)
    assert many_chunks.processed == one_chunk.processed
    expected, found = county_rows(database.url, KEY), county_rows(database.url, TWIN)
    assert {table: len(rows) for table, rows in found.items()} == {
        table: len(rows) for table, rows in expected.items()
    }
    assert found == expected

    # Neighbouring chunks share chips, and each chip is still segmented once.
    assert set(many_segmenter.chip_counts) == set(one_segmenter.chip_counts)
    assert (
        set(many_segmenter.chip_counts.values()) == set(one_segmenter.chip_counts.values()) == {1}
    )
    assert len(many_segmenter.chip_counts) > 6
    assert max(one_segmenter.batch_sizes) <= CountingSegmenter.chips_per_batch


def test_an_engine_error_ends_the_run_and_releases_the_leases(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("read failed")

    with monkeypatch.context() as broken:
        broken.setattr(pool_tasks, "read", fail)
        broken.setattr(local, "_cores", lambda: 1)
        with pytest.raises(RuntimeError, match="read failed"):
            _run(county, KEY, database, tmp_path)
    with database.engine.connect() as conn:
        states = conn.exec_driver_sql("SELECT DISTINCT state FROM lotline.property").all()
        runs = conn.exec_driver_sql("SELECT state FROM lotline.run").all()
    assert ("pending",) in states
    assert ("leased",) not in states
    assert runs == [("failed",)]
    report, _ = _run(county, KEY, database, tmp_path)
    assert report.done > 1_200


def test_outcomes_without_inference_are_bounded_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most lots have no imagery, so no segmenter slows the survey down."""
    chunk, max_lots = 60, 240
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", chunk)
    monkeypatch.setattr(local, "_MAX_UNWRITTEN_LOTS", chunk)
    monkeypatch.setattr(local, "MAX_LOTS_PER_WRITE", chunk)
    county = make_county(tmp_path / "county", 900)
    crop_imagery(county, 0.3)
    write, survey, surveyed = local.write_outcomes, local.survey, 0
    too_many = threading.Event()
    unwritten: list[int] = []

    def count_surveyed(chunk: Any, *args: Any) -> Any:
        nonlocal surveyed
        surveyed += len(chunk.leased)
        if surveyed > max_lots:
            too_many.set()
        return survey(chunk, *args)

    def write_slowly(*args: Any) -> Any:
        too_many.wait(0.5)
        with database.engine.connect() as conn:
            leased = conn.exec_driver_sql(
                "SELECT count(*) FROM lotline.property WHERE state = 'leased'"
            )
            unwritten.append(leased.scalar_one())
        return write(*args)

    monkeypatch.setattr(local, "survey", count_surveyed)
    monkeypatch.setattr(local, "write_outcomes", write_slowly)
    report, segmenter = _run(county, KEY, database, tmp_path)
    assert sum(report.processed.values()) == 900 + len(ODD)
    assert report.processed["no_imagery", "missing"] > 600
    assert report.processed["done", "measured"] > 50
    assert segmenter.chip_counts
    assert chunk <= max(unwritten) <= max_lots
