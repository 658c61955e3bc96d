"""A batch beside a running one: the same request is shared, any other is refused or runs.

The second batch starts inside the first one, which has leased two properties at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from detection import sample
from detection.segmenters import build_segmenter
from detection.segmenters.interface import Segmenter
from pipeline import BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.batch.request import NoProgress
from pipeline.batch.result import BatchReport
from pipeline.errors import ConcurrentBatchError
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.runs import lifecycle

PROPERTIES = 5
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)

STATES = """
SELECT p.property_id, p.state, p.run_fk, r.settings ->> 'labels' FROM lotline.property p
LEFT JOIN lotline.run r ON r.id = p.run_fk ORDER BY 1
"""

Batch = Callable[..., BatchReport]


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    made = sample.generate(tmp_path_factory.mktemp("little") / "county", seed=5, lots=6)
    lines = made.properties.read_text().splitlines()
    made.properties.write_text("\n".join(lines[: PROPERTIES + 1]))
    return made


@pytest.fixture
def registry(county: sample.SampleCounty, tmp_path: Path) -> Path:
    file = tmp_path / "registry.yaml"
    file.write_text(
        f"counties:\n  little:\n    path: {county.parcels}\n"
        f'    imagery: {{path: "{county.imagery}"}}\n    properties: {county.properties}\n'
    )
    return file


@pytest.fixture
def batch(registry: Path, database: Database, tmp_path: Path) -> Batch:
    settings = Settings(database_url=database.url, home=tmp_path)

    def run(progress: NoProgress | None = None, build: Any = build_segmenter, **fields: Any) -> Any:
        asked = {"registry": registry, "labels": ("lawn",), "segmenter": "spectral", **fields}
        request = BatchRequest("little", **asked)
        return run_batch(request, settings, progress, build)

    return run


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 2)


class Beside(NoProgress):
    """Calls `action` once, while the batch runs: at its start, or after its first written lots."""

    def __init__(self, action: Callable[[], BatchReport], *, at_start: bool = False) -> None:
        self._action: Callable[[], BatchReport] | None = action
        self._at_start = at_start
        self.report: BatchReport | None = None
        self.refused = ""

    def start(self, _total: int, _what: str) -> None:
        if self._at_start:
            self._act()

    def advance(self, _count: int) -> None:
        self._act()

    def _act(self) -> None:
        action, self._action = self._action, None
        if action is None:
            return
        try:
            self.report = action()
        except ConcurrentBatchError as error:
            self.refused = str(error)


def _states(database: Database) -> list[tuple[Any, ...]]:
    with database.engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(STATES))]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({}, {"again": True, "labels": ("tree",)}, "labels lawn, here tree"),
        ({"again": True}, {"labels": ("lawn", "tree")}, "labels lawn, here lawn, tree"),
        ({}, {"retry_failed": True, "labels": ()}, "labels lawn, here lawn, tree, vegetation"),
        ({"limit": 3}, {"again": True, "labels": ("tree",), "limit": 1}, "labels lawn, here tree"),
        ({}, {"again": True, "own_labels": ("lawn=short grass",)}, "other label definitions"),
        ({}, {"again": True, "when_unavailable": "buffer"}, "when_unavailable defer, here buffer"),
        ({}, {"again": True, "segmenter": "sam3-tiny"}, "segmenter spectral, here sam3-tiny"),
        ({}, {"again": True, "labels": ("tree",), "bbox": EVERYWHERE}, "labels lawn, here tree"),
        ({"bbox": EVERYWHERE}, {"again": True, "labels": ("tree",)}, "labels lawn, here tree"),
    ],
)
def test_a_batch_that_measures_otherwise_is_refused(
    batch: Batch,
    small_chunks: None,
    first: dict[str, Any],
    second: dict[str, Any],
    reason: str,
) -> None:
    beside = Beside(partial(batch, **second))
    report = batch(beside, **first)
    assert reason in beside.refused
    assert "`lotline runs show 1`" in beside.refused
    assert report.done == first.get("limit", PROPERTIES), "the other batch took nothing"


def test_a_refused_batch_leaves_the_queue_unchanged(
    batch: Batch, database: Database, small_chunks: None
) -> None:
    batch()
    beside = Beside(partial(batch, again=True, labels=("tree",)), at_start=True)
    assert batch(beside, again=True).done == PROPERTIES
    assert beside.refused
    assert {row[2:] for row in _states(database)} == {(2, '["lawn"]')}
    assert batch(again=True, labels=("tree",)).done == PROPERTIES


def test_another_registry_entry_is_refused(
    batch: Batch, registry: Path, tmp_path: Path, small_chunks: None
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(registry.read_text() + "    line_tolerance_m: 0.5\n")
    beside = Beside(lambda: batch(again=True, registry=other))
    batch(beside)
    assert "another registry entry" in beside.refused


@pytest.mark.parametrize("limit", [None, 100])
def test_the_same_request_shares_the_work(
    batch: Batch, database: Database, small_chunks: None, limit: int | None
) -> None:
    batch()
    beside = Beside(partial(batch, again=True, limit=limit))
    first = batch(beside, again=True)
    assert beside.report is not None
    assert first.done + beside.report.done == PROPERTIES
    assert {row[1] for row in _states(database)} <= {"done"}


def test_batches_of_other_properties_may_measure_otherwise(
    batch: Batch, county: sample.SampleCounty, small_chunks: None, tmp_path: Path
) -> None:
    lines = county.properties.read_text().splitlines()
    files = []
    for name, rows in (("one", lines[1:4]), ("other", lines[4:6]), ("both", lines[3:5])):
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text("\n".join([lines[0], *rows]))
    one, other, both = files
    beside = Beside(partial(batch, properties=other, again=True, labels=("tree",)))
    assert batch(beside, properties=one).done == 3
    assert beside.report is not None, beside.refused
    assert beside.report.done == 2
    beside = Beside(partial(batch, properties=both, again=True, labels=("tree",)))
    batch(beside, properties=one, again=True)
    assert "labels lawn, here tree" in beside.refused


def test_a_batch_that_ends_while_another_one_starts_is_not_taken_for_fresh(
    batch: Batch, database: Database
) -> None:
    batch()

    def build(name: str, weights: str | None) -> Segmenter:
        batch(again=True)  # requested and ended after this one was requested
        return build_segmenter(name, weights)

    report = batch(build=build, again=True, labels=("tree",))
    assert report.done == PROPERTIES
    assert {row[2:] for row in _states(database)} == {(3, '["tree"]')}


def test_a_batch_that_starts_while_another_one_starts_is_seen(
    batch: Batch, database: Database, small_chunks: None
) -> None:
    """When it was requested, nothing ran; when its segmenter is loaded, another batch does."""
    batch()
    with database.engine.connect() as alive:

        def build(name: str, weights: str | None) -> Segmenter:
            settings = {"shared_settings": {"labels": "lawn"}}
            lifecycle.start(alive, "little", settings, "spectral", None)
            alive.commit()
            return build_segmenter(name, weights)

        before = _states(database)
        with pytest.raises(ConcurrentBatchError, match="labels lawn, here tree"):
            batch(build=build, again=True, labels=("tree",))
    assert _states(database) == before


class OtherWeights:
    """The spectral segmenter, with weights that show only after it is built."""

    def __init__(self, weights: str | None) -> None:
        self._spectral = build_segmenter("spectral")
        self.weights_sha256 = weights

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spectral, name)


def test_other_weights_are_refused_although_nothing_waits(batch: Batch) -> None:
    def build(_: str, weights: str | None) -> Any:
        return OtherWeights(weights)

    weighed = partial(batch, build=build, segmenter="weighed", again=True)
    beside = Beside(partial(weighed, weights="b" * 64))
    weighed(beside, weights="a" * 64)
    assert "other weights" in beside.refused
    beside = Beside(partial(weighed, weights="a" * 64))
    weighed(beside, weights="a" * 64)
    assert beside.report is not None, beside.refused
