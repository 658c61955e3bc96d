"""Errors of the Ray engine that are found before a run starts."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from segmenters import FreeSegmenter

from pipeline.batch.engines.ray import ray_runtime
from pipeline.errors import ClusterError

pytest.importorskip("ray", reason="needs lotline[ray]")

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is bound, so that nobody else takes it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def _cluster_error(address: str) -> str:
    with pytest.raises(ClusterError) as raised, ray_runtime(FreeSegmenter, address):
        pass
    return str(raised.value)


def test_address_without_a_server(closed_port: int) -> None:
    message = _cluster_error(f"127.0.0.1:{closed_port}")
    assert f"no Ray cluster responds at 127.0.0.1:{closed_port}" in message
    assert "RAY_ADDRESS is HOST:PORT of the cluster's head" in message


@pytest.mark.long
def test_address_of_another_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert f"the server at {address} is not a Ray head" in _cluster_error(address)


@pytest.mark.parametrize("address", ["head", "head:ray", "10.0.0.7:"])
def test_invalid_address(address: str) -> None:
    assert f"RAY_ADDRESS={address} has no port number" in _cluster_error(address)


def test_address_of_a_ray_client() -> None:
    assert "start the run on a machine of the cluster" in _cluster_error("ray://10.0.0.7:10001")


@pytest.mark.parametrize("folder", ["a b", "a$(touch ran)", "a`touch ran`", "a;touch ran", "a'b"])
def test_a_path_of_python_that_a_shell_would_run(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", f"/home/ann/{folder}/.venv/bin/python")
    with pytest.raises(ClusterError) as raised, ray_runtime(FreeSegmenter):
        pass
    assert f"cannot start workers with /home/ann/{folder}/.venv/bin/python" in str(raised.value)


def test_error_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("pipeline.batch.engines.ray."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert _cluster_error("127.0.0.1:6379") == "ENGINE=ray needs Ray: install lotline[ray]"


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("postgresql://lotline@/lotline?host=%2Ftmp%2Fsocket&port=5432", True),
        ("postgresql:///lots", True),
        ("postgresql://ann:secret@localhost:5432/lots", True),
        ("postgresql://ann:secret@127.0.0.1/lots", True),
        ("postgresql://ann:secret@db.example:5432/lots", False),
        ("postgresql+psycopg://ann@10.0.0.9/lots", False),
    ],
)
def test_is_local_database(url: str, is_local: bool) -> None:
    from pipeline.batch.engines.ray.cluster import is_local_database

    assert is_local_database(url) is is_local


def test_several_machines_with_a_local_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipeline.batch.engines.ray import cluster

    machines: list[dict[str, Any]] = [{"NodeManagerAddress": f"10.0.0.{n}"} for n in (7, 8)]
    monkeypatch.setattr(cluster, "alive_machines", lambda: machines)
    context: Any = SimpleNamespace(database_url="postgresql://lotline@/lotline?host=%2Ftmp&port=1")
    with pytest.raises(ClusterError, match=r"has 2 machines, .* set DATABASE_URL to a PostGIS"):
        cluster.check_machines(context)


@pytest.mark.parametrize(
    ("gpus", "share", "workers"),
    [([0, 1, 1], 1.0, 2), ([8], 0.5, 16), ([4, 1], 2.0, 2), ([2], 0.3, 6), ([0, 0], 1.0, 3)],
)
def test_actor_slots(
    gpus: list[int], share: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.batch.engines.ray import segmenter_pool

    nodes = [{"Resources": {"CPU": 3.0, "GPU": float(each)}} for each in gpus]
    monkeypatch.setattr(segmenter_pool, "alive_machines", lambda: nodes)
    count, options = segmenter_pool.actor_slots(share)
    assert count == workers
    assert options == ({"num_gpus": share, "num_cpus": 0} if any(gpus) else {"num_cpus": 1})


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_invalid_gpu_share(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.batch.engines.ray import segmenter_pool

    monkeypatch.setattr(segmenter_pool, "alive_machines", lambda: [{"Resources": {"GPU": 1.0}}])
    with pytest.raises(ClusterError, match="RAY_GPUS_PER_WORKER="):
        segmenter_pool.actor_slots(share)


def test_more_gpus_per_worker_than_any_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.batch.engines.ray import segmenter_pool

    monkeypatch.setattr(segmenter_pool, "alive_machines", lambda: [{"Resources": {"GPU": 1.0}}] * 2)
    with pytest.raises(ClusterError, match="but no machine has more than 1"):
        segmenter_pool.actor_slots(2.0)


def test_cluster_yaml_matches_the_schema_of_ray() -> None:
    import jsonschema
    import ray.autoscaler

    file = yaml.safe_load((ROOT / "deploy" / "ray" / "cluster.yaml").read_text(encoding="utf-8"))
    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text(encoding="utf-8")
    jsonschema.validate(file, json.loads(schema))
    assert file["head_node_type"] in file["available_node_types"]
    assert file["available_node_types"]["gpu"]["resources"]["GPU"] == 1
