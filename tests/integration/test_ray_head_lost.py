"""A Ray cluster that loses its head: the batch says so, and the next one resumes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batches import (
    count_by_state,
    environment,
    inconsistent_properties,
    leased_properties,
    spectral_command,
    start_process,
    wait_for,
)
from largecounty import KEY, LargeCounty, make_county

from pipeline.store.database import Database

# A Ray cluster uses each core, and waits for its processes only for a limited time.
pytestmark = [pytest.mark.serial, pytest.mark.long]

# Ray reads it when it is imported: with it, Ray keeps 127.0.0.1 instead of the network's address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
pytest.importorskip("ray", reason="needs lotline[ray]")

# Labels of the spectral segmenter.
LABELS = 3


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("large"), 2_000)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head, on this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": "127.0.0.1", "object_store_memory": 200 * 2**20, "num_cpus": 2}
    running = Cluster(head_node_args={**node, "include_dashboard": False}, initialize_head=True)
    yield running
    running.shutdown()


def _signal_head(cluster: Any, number: signal.Signals, *kinds: str) -> None:
    """Send a signal to all of the head's processes, or to those of the named kinds."""
    for kind, started in cluster.head_node.all_processes.items():
        for each in started:
            if not kinds or kind in kinds:
                each.process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        (signal.SIGKILL, ()),  # within seconds
        (signal.SIGKILL, ("gcs_server",)),  # after a minute
    ],
    ids=["all-processes", "control-service"],
)
def test_a_head_that_is_lost_during_a_batch(
    county: LargeCounty,
    database: Database,
    cluster: Any,
    tmp_path: Path,
    number: signal.Signals,
    kinds: tuple[str, ...],
) -> None:
    env = {**environment(database.url, tmp_path), "RAY_ADDRESS": cluster.address}
    on_ray = spectral_command(county, "--engine", "ray")
    with start_process(on_ray, tmp_path, env) as batch:
        wait_for(lambda: count_by_state(database.url, KEY).get("done", 0) > 100, batch)
        _signal_head(cluster, number, *kinds)
        code, output, errors = batch.wait(180)
    assert code == 2, (output, errors)
    assert "error: the Ray cluster was lost" in errors
    assert count_by_state(database.url, KEY)["leased"] > 0, "it did not end by itself"

    with start_process(on_ray, tmp_path, env) as batch:
        code, output, errors = batch.wait(180)
    assert code == 2, (output, errors)
    assert f"no Ray cluster responds at {cluster.address}" in errors

    with start_process(spectral_command(county), tmp_path, env) as batch:
        code, output, errors = batch.wait(180)
    assert code == 1, (output, errors)  # the county has lots that fail
    assert leased_properties(database.url, KEY) == []
    assert inconsistent_properties(database.url, KEY, LABELS) == []
