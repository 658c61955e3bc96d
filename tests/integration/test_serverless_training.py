"""Train jobs: a run into a bucket, one that goes on on another worker, and ones that end early."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from correctionpairs import write_corrections
from rasters import ThresholdSegmenter

from detection.segmenters.landcover.weights import load_landcover
from pipeline.learning.registered_run import registered_facts
from pipeline.serve.job_runner import run_job
from pipeline.serve.worker import Worker
from pipeline.store.objects.folder_or_bucket import open_objects

SETTINGS = {
    "rehearsal_share": 0, "views_per_part": 1, "batch": 1, "side_px": 96, "checkpoint_every": 1,
    "ema_decay": 0, "read_every": 1, "learning_rate": 1e-5,
}  # fmt: skip


@pytest.fixture
def bucket(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_corrections(open_objects(f"{s3_bucket}/pairs"))
    return s3_bucket


def submit(
    bucket: str,
    stop: threading.Event | None = None,
    report: Any = lambda *_: None,
    **asked: Any,
) -> dict[str, Any]:
    """A job on a worker of its own."""
    worker = Worker(
        open_objects(f"{bucket}/jobs"), ThresholdSegmenter(), "spectral", allow_private=False,
        work=None,
    )  # fmt: skip
    job = {
        "id": "platform-1",
        "input": {
            "type": "train", "job_id": "round-1", "what": "landcover-decoder",
            "corrections": f"{bucket}/pairs", "steps": 2, "settings": SETTINGS, **asked,
        },
    }  # fmt: skip
    return run_job(worker, job, report, stop or threading.Event())


def keys(bucket: str) -> set[str]:
    return set(open_objects(f"{bucket}/jobs").listed("jobs/round-1/"))


@pytest.mark.long
def test_a_run_that_ends_at_its_time_limit_goes_on_elsewhere(bucket: str, tmp_path: Path) -> None:
    first = submit(bucket, time_limit="0.0001s")
    assert first.get("state") == "time limit", first
    assert first["job_id"] == "round-1"
    state = json.loads(open_objects(f"{bucket}/jobs").get("jobs/round-1/state.json") or b"")
    assert any(name.endswith("/state.pt") for name in state["files"])
    # A later export does not change what the job trains on.
    assert "/manifests/" in state["corrections"]
    write_corrections(open_objects(f"{bucket}/pairs"), side_px=80)

    reports: list[Mapping[str, object]] = []
    done = submit(bucket, report=lambda _, progress: reports.append(progress))
    assert done.get("state") == "finished", done
    assert done["step"] == 2
    assert reports[0]["stage"] == "preparing"
    assert reports[-1]["stage"] == "storing results"
    assert done["base_sha256"] == load_landcover().sha256
    assert done["weights_sha256"] not in (None, done["base_sha256"])
    names = keys(bucket)
    assert not any("/state/" in name or name.endswith("state.json") for name in names)

    again = submit(bucket)
    assert again == done | {"repeated": True}
    assert keys(bucket) == names
    other = json.loads(submit(bucket, steps=3)["error"])
    assert other["code"] == "job_id_taken"

    # What was stored is a run that `lotline models add` takes.
    objects = open_objects(f"{bucket}/jobs")
    manifest = json.loads(objects.get("jobs/round-1/manifest.json") or b"")
    for name, file in manifest["files"].items():
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(objects.get(file["key"]) or b"")
    weights = tmp_path / "run" / "checkpoints" / done["weights"].split("/checkpoints/")[1]
    facts = registered_facts(weights, "landcover", str(tmp_path / "registered"), "")
    assert facts.weights_sha256 == done["weights_sha256"]
    assert facts.tier == "landcover-decoder"
    assert facts.data_sha256 is not None
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [0, 1]


@pytest.mark.long
def test_a_worker_that_is_stopped_keeps_the_last_checkpoint(bucket: str) -> None:
    stop = threading.Event()

    def report(_: object, progress: Mapping[str, object]) -> None:
        if progress["stage"] == "training" and "step" in progress:
            stop.set()

    failed = json.loads(submit(bucket, stop, report, steps=100_000)["error"])
    assert failed["code"] == "stopped"
    assert "goes on after step" in failed["message"]
    state = json.loads(open_objects(f"{bucket}/jobs").get("jobs/round-1/state.json") or b"")
    kept = {file["key"] for file in state["files"].values()}
    assert kept == {name for name in keys(bucket) if "/state/" in name}
    assert any(name.endswith("/state.pt") for name in state["files"])


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        pytest.param(
            {"settings": {"colour": "3"}},
            "training_failed",
            "no setting is named 'colour'",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"what": "sam3-tiny"},
            "training_failed",
            "does not learn from corrections",
            marks=pytest.mark.long,
        ),
        ({"corrections": "s3://corrections/nothing"}, "invalid_manifest", "does not exist"),
        ({"rehearsal": "s3://corrections/pack.npz"}, "source_failed", "error 404"),
    ],
)
def test_a_run_that_cannot_begin(bucket: str, change: Any, code: str, message: str) -> None:
    answer = submit(bucket, **change)
    failed = json.loads(answer["error"])
    assert failed["code"] == code
    assert message in failed["message"]
    assert "/tmp/" not in answer["error"]
    assert "Traceback" not in answer["error"]
    assert not any(name.endswith("/manifest.json") for name in keys(bucket))
