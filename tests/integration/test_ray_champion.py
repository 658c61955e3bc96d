"""Batches on a Ray cluster pick up the champion between them, with its base and thresholds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from registered import KEY, Registered, little_county, sam3_base, write_delta
from sqlalchemy import text

from detection.segmenters import build_segmenter
from pipeline import BatchRequest, run_batch
from pipeline.batch.request import NoProgress
from pipeline.settings import Settings
from pipeline.store.database import Database

# A Ray cluster uses each core, and waits for its processes only for a limited time.
pytestmark = pytest.mark.serial

# Ray reads it when it is imported: with it, Ray keeps 127.0.0.1 instead of the network's address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
pytest.importorskip("ray", reason="needs lotline[ray]")

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of this machine, whose workers know neither weights nor a champion."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(TESTS.parent))
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name in ("SAM3_WEIGHTS", "DATABASE_URL"):
            environment.delenv(name, raising=False)
        from ray.cluster_utils import Cluster

        node = {"node_ip_address": "127.0.0.1", "object_store_memory": 200 * 2**20, "num_cpus": 2}
        running = Cluster(head_node_args={**node, "include_dashboard": False}, initialize_head=True)
        yield running.address
        running.shutdown()


class Messages(NoProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, what: str) -> None:
        self.said.append(what)


@dataclass
class Batches:
    """Batches of a county with sam3, on a cluster."""

    database: Database
    registry: Path
    home: Path
    base: str
    address: str

    def batch(self, messages: Messages | None = None) -> tuple[str, int]:
        """Measure again; the weights in all rows of the run, and how many roofs it found."""
        request = BatchRequest(
            KEY, registry=self.registry, segmenter="sam3", weights=self.base, engine="ray",
            labels=("roof", "lawn"), limit=4, again=True,
        )  # fmt: skip
        settings = Settings(
            database_url=self.database.url, home=self.home, ray_address=self.address
        )
        report = run_batch(request, settings, messages or Messages())
        assert report.processed["done", "measured"] > 0
        [run] = self.rows("SELECT id, weights_sha256 FROM lotline.run ORDER BY id DESC LIMIT 1")
        rows = self.rows(
            f"SELECT label, weights_sha256 FROM lotline.detection WHERE run_fk = {run.id}"
        )
        assert {row.weights_sha256 for row in rows} == {run.weights_sha256}
        return run.weights_sha256, sum(row.label == "roof" for row in rows)

    def rows(self, query: str) -> list[Any]:
        with self.database.engine.connect() as conn:
            return list(conn.execute(text(query)))


def test_a_promotion_and_a_rollback_reach_the_next_batch(
    database: Database, address: str, tmp_path: Path
) -> None:
    base = str(sam3_base(tmp_path / "base"))
    registered = Registered(database, tmp_path / "stored")
    numbers, hashes = [], []
    for name, change in (("one", 2e-3), ("two", 4e-3)):
        delta = write_delta(base, tmp_path / name, change)
        sha256 = build_segmenter("sam3", f"{base}{os.pathsep}{delta}").weights_sha256
        assert sha256 is not None
        hashes.append(sha256)
        numbers.append(registered.add_delta(delta, sha256, "sam3"))
    registry = little_county(tmp_path / "county")
    batches = Batches(database, registry, tmp_path / "home", base, address)

    own, _ = batches.batch()
    assert own == build_segmenter("sam3", base).weights_sha256
    registered.promote(numbers[0])
    messages = Messages()
    first, roofs = batches.batch(messages)
    assert first == hashes[0]
    assert f"sam3 has the weights of model {numbers[0]}, its champion" in messages.said
    assert roofs > 0
    registered.promote_with(numbers[1], {"roof": 0.99999}, "sam3")
    second, strict = batches.batch()
    assert second == hashes[1]
    assert strict < roofs, "the thresholds of the promotion count on the cluster too"
    registered.roll_back("sam3")
    assert batches.batch() == (first, roofs)
    counts = batches.rows("SELECT DISTINCT weights_sha256 FROM lotline.run")
    assert {row.weights_sha256 for row in counts} == {own, first, second}
