"""MLflow tracking servers: the real one, where it is installed, and one in memory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from servers.scripted import Call, Reply, scripted

_API = "/api/2.0/mlflow/"


def real_mlflow() -> str | None:
    """MLflow's program: LOTLINE_TEST_MLFLOW, or the one on the path."""
    return os.environ.get("LOTLINE_TEST_MLFLOW") or shutil.which("mlflow")


@contextmanager
def mlflow_server(folder: Path, program: str) -> Iterator[str]:
    """MLflow's own server over a SQLite file; yields its address."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
         "--default-artifact-root", str(folder / "artefacts")],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}, cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as server:  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        try:
            while True:
                assert server.poll() is None, "the server ended"
                try:
                    requests.get(f"{address}/health", timeout=1).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.2)
            yield address
        finally:
            os.killpg(server.pid, 15)


@dataclass
class RunsInMemory:
    """Answers as MLflow's server does, as far as a training asks it.

    Attributes:
        is_down: whether it drops every connection.
    """

    is_down: bool = False
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _experiments: dict[str, str] = field(default_factory=dict)

    def __call__(self, call: Call) -> Reply:
        if self.is_down:
            return Reply(status=0)
        body = json.loads(call.body) if call.body else {}
        name = call.path.removeprefix(_API).replace("/", "_").replace("-", "_")
        return getattr(self, f"_{name}")(call.query | body)  # type: ignore[no-any-return]

    def _experiments_get_by_name(self, asked: dict[str, Any]) -> Reply:
        known = self._experiments.get(asked["experiment_name"])
        if known is None:
            return _error(404, "RESOURCE_DOES_NOT_EXIST", "no such experiment")
        return _reply({"experiment": {"experiment_id": known, "lifecycle_stage": "active"}})

    def _experiments_create(self, asked: dict[str, Any]) -> Reply:
        known = self._experiments.setdefault(asked["name"], str(len(self._experiments) + 1))
        return _reply({"experiment_id": known})

    def _runs_create(self, asked: dict[str, Any]) -> Reply:
        run_id = f"run{len(self.runs)}"
        tags = {each["key"]: each["value"] for each in asked["tags"]}
        info = {"run_id": run_id, "status": "RUNNING", "run_name": asked["run_name"],
                "experiment_id": asked["experiment_id"]}  # fmt: skip
        self.runs[run_id] = {"info": info, "tags": tags, "params": {}, "metrics": set()}
        return _reply({"run": {"info": info}})

    def _runs_search(self, asked: dict[str, Any]) -> Reply:
        tag, _, value = asked.get("filter", "").removeprefix("tags.").partition(" = ")
        found = [
            self._document(run)
            for run in self.runs.values()
            if run["info"]["experiment_id"] in asked["experiment_ids"]
            and (not tag or run["tags"].get(tag.strip("`")) == value.strip("'"))
        ]
        return _reply({"runs": found[: asked.get("max_results", 100)]})

    def _runs_log_batch(self, asked: dict[str, Any]) -> Reply:
        run = self.runs.get(asked["run_id"])
        if run is None:
            return _error(404, "RESOURCE_DOES_NOT_EXIST", "no such run")
        if len(asked["metrics"]) > 1000 or len(asked["params"]) > 100:
            return _error(400, "INVALID_PARAMETER_VALUE", "too many")
        for each in asked["params"]:
            if run["params"].setdefault(each["key"], each["value"]) != each["value"]:
                return _error(400, "INVALID_PARAMETER_VALUE", "a parameter cannot change")
        run["tags"] |= {each["key"]: each["value"] for each in asked["tags"]}
        run["metrics"] |= {
            (each["key"], each["step"], each["timestamp"], each["value"])
            for each in asked["metrics"]
        }
        return _reply({})

    def _runs_update(self, asked: dict[str, Any]) -> Reply:
        self.runs[asked["run_id"]]["info"]["status"] = asked["status"]
        return _reply({})

    def _metrics_get_history(self, asked: dict[str, Any]) -> Reply:
        points = sorted(self.runs[asked["run_id"]]["metrics"], key=lambda each: each[1])
        names = ("key", "step", "timestamp", "value")
        found = [
            dict(zip(names, each, strict=True)) for each in points if each[0] == asked["metric_key"]
        ]
        return _reply({"metrics": found})

    @staticmethod
    def _document(run: dict[str, Any]) -> dict[str, Any]:
        data = {
            name: [{"key": key, "value": value} for key, value in run[name].items()]
            for name in ("tags", "params")
        }
        return {"info": run["info"], "data": data}


def _reply(content: dict[str, Any]) -> Reply:
    return Reply(json.dumps(content).encode())


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(json.dumps({"error_code": code, "message": message}).encode(), status)


@contextmanager
def runs_in_memory() -> Iterator[tuple[str, RunsInMemory]]:
    """The address, and the server."""
    server = RunsInMemory()
    with scripted(server) as running:
        yield running.address, server


class TrackedRuns:
    """What a server has, asked as anybody may."""

    def __init__(self, address: str) -> None:
        self._address = address

    def all(self, experiment: str = "lotline") -> list[dict[str, Any]]:
        found = self._get("experiments/get-by-name", {"experiment_name": experiment})
        body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
        answer = requests.post(f"{self._address}{_API}runs/search", json=body, timeout=30)
        answer.raise_for_status()
        return [
            {
                "id": run["info"]["run_id"], "status": run["info"]["status"],
                "name": run["info"]["run_name"],
                "params": {each["key"]: each["value"] for each in run["data"].get("params", [])},
                "tags": {each["key"]: each["value"] for each in run["data"].get("tags", [])},
            }
            for run in answer.json().get("runs", [])
        ]  # fmt: skip

    def curve(self, run_id: str, key: str) -> list[tuple[int, float]]:
        query = {"run_id": run_id, "metric_key": key}
        found = self._get("metrics/get-history", query).get("metrics", [])
        return sorted((int(each["step"]), each["value"]) for each in found)

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        answer = requests.get(f"{self._address}{_API}{path}", query, timeout=30)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content
