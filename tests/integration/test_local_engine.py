"""The local engine: the same rows however the work is cut and wherever it is measured."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import rows_of
from largecounty import KEY, ODD, TWIN, LargeCounty, crop_imagery, make
from segmenters import FreeSegmenter

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.batch.engines import local, pool_tasks
from pipeline.settings import Settings
from pipeline.store.database import Database


class Counting(FreeSegmenter):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: Counter[tuple[float, ...]] = Counter()
        self.together: list[int] = []

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        self.shown.update(chip.bounds for chip in chips)
        self.together.append(len(chips))
        return super().segment(chips, labels)


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make(tmp_path_factory.mktemp("county"), 1_200)


def _run(
    county: LargeCounty, key: str, database: Database, home: Path
) -> tuple[BatchReport, Counting]:
    segmenter = Counting()
    order = BatchRequest(key, county.registry, county.properties, segmenter="free")
    settings = Settings(database_url=database.url, home=home)
    return run_batch(order, settings, build=lambda *_: segmenter), segmenter


def test_rows_do_not_depend_on_chunks_nor_on_who_measures(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MIN_LOTS_FOR_PROCESSES", 10_000)
    whole, at_once = _run(county, KEY, database, tmp_path)
    assert whole.done > 1_200

    monkeypatch.setattr(local, "_MIN_LOTS_FOR_PROCESSES", 1)
    monkeypatch.setattr(local, "_cores", lambda: 2)
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 90)
    cut, in_pieces = _run(county, TWIN, database, tmp_path)
    assert cut.processed == whole.processed
    expected, found = rows_of(database.url, KEY), rows_of(database.url, TWIN)
    assert {table: len(rows) for table, rows in found.items()} == {
        table: len(rows) for table, rows in expected.items()
    }
    assert found == expected

    # Chunks that lie side by side share chips, and each is looked at once all the same.
    assert set(in_pieces.shown) == set(at_once.shown)
    assert set(in_pieces.shown.values()) == set(at_once.shown.values()) == {1}
    assert len(in_pieces.shown) > 6
    assert max(at_once.together) <= Counting.chips_per_batch


def test_an_error_that_no_lot_is_to_blame_for_ends_the_run_and_gives_back_the_leases(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("the ground opened")

    with monkeypatch.context() as broken:
        broken.setattr(pool_tasks, "read", gone)
        broken.setattr(local, "_cores", lambda: 1)
        with pytest.raises(RuntimeError, match="the ground opened"):
            _run(county, KEY, database, tmp_path)
    with database.engine.connect() as conn:
        states = conn.exec_driver_sql("SELECT DISTINCT state FROM lotline.property").all()
        runs = conn.exec_driver_sql("SELECT state FROM lotline.run").all()
    assert ("pending",) in states
    assert ("leased",) not in states
    assert runs == [("failed",)]
    report, _ = _run(county, KEY, database, tmp_path)
    assert report.done > 1_200


def test_what_needs_no_look_is_bounded_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of most lots there is no imagery: the segmenter, which is waited for, is never asked."""
    chunk, most = 60, 240
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", chunk)
    monkeypatch.setattr(local, "_MAX_UNWRITTEN_LOTS", chunk)
    monkeypatch.setattr(local, "MAX_LOTS_PER_WRITE", chunk)
    county = make(tmp_path / "county", 900)
    crop_imagery(county, 0.3)
    write, survey, surveyed = local.write_outcomes, local.survey, 0
    too_many = threading.Event()
    unwritten: list[int] = []

    def counted(chunk: Any, *given: Any) -> Any:
        nonlocal surveyed
        surveyed += len(chunk.leased)
        if surveyed > most:
            too_many.set()
        return survey(chunk, *given)

    def slowly(*given: Any) -> Any:
        too_many.wait(0.5)
        with database.engine.connect() as conn:
            leased = conn.exec_driver_sql(
                "SELECT count(*) FROM lotline.property WHERE state = 'leased'"
            )
            unwritten.append(leased.scalar_one())
        return write(*given)

    monkeypatch.setattr(local, "survey", counted)
    monkeypatch.setattr(local, "write_outcomes", slowly)
    report, segmenter = _run(county, KEY, database, tmp_path)
    assert sum(report.processed.values()) == 900 + len(ODD)
    assert report.processed["no_imagery", "missing"] > 600
    assert report.processed["done", "measured"] > 50
    assert segmenter.shown
    assert chunk <= max(unwritten) <= most
