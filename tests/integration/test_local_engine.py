"""The local engine: the same rows however the work is cut and wherever it is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from batches import rows_of
from largecounty import KEY, TWIN, LargeCounty, make
from segmenters import FreeSegmenter

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.protocol import Mask
from pipeline import BatchReport, Order, run_batch
from pipeline.batch import work
from pipeline.batch.engines import apart, local
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
    order = Order(key, county.registry, county.properties, segmenter="free")
    settings = Settings(database_url=database.url, home=home)
    return run_batch(order, settings, build=lambda *_: segmenter), segmenter


def test_rows_do_not_depend_on_chunks_nor_on_who_measures(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_WORTH_A_PROCESS", 10_000)
    whole, at_once = _run(county, KEY, database, tmp_path)
    assert whole.done > 1_200

    monkeypatch.setattr(local, "_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(local, "_cores", lambda: 2)
    monkeypatch.setattr(work, "CHUNK_LOTS", 90)
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
    assert max(at_once.together) <= Counting.chips_at_once


def test_an_error_that_no_lot_is_to_blame_for_ends_the_run_and_gives_back_the_leases(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("the ground opened")

    with monkeypatch.context() as broken:
        broken.setattr(apart, "read_places", gone)
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
