"""The snapshot of an unfinished run: what is stored, restored, replaced and removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.serve.job_store import JobStore
from pipeline.serve.run_snapshot import RunSnapshot
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(str(tmp_path / "objects"))


def store(objects: ObjectStore, request: str = "r") -> JobStore:
    return JobStore(objects, "job", request)


def checkpoint(run: Path, step: int, *, judged: bool = True) -> None:
    folder = run / "checkpoints" / f"step-{step:08}"
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "state.pt").write_bytes(bytes([step]) * 100)
    (folder / "weights" / "model.safetensors").write_bytes(bytes([step]))
    if judged:
        (folder / "proof.json").write_text("{}")
        (run / "best.json").write_text(json.dumps({"checkpoint": folder.name}))
    (run / "run.json").write_text("{}")


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_run_goes_on_from_its_last_checkpoint(objects: ObjectStore, tmp_path: Path) -> None:
    first = tmp_path / "first"
    snapshot = RunSnapshot(store(objects), first)
    assert snapshot.restore() is None
    snapshot.begin("s3://bucket/manifests/a.json")
    assert not snapshot.save()  # no checkpoint yet
    checkpoint(first, 1, judged=False)
    (first / "checkpoints" / ".draft-step-00000002-7").mkdir()
    assert snapshot.save()
    assert not snapshot.save()
    checkpoint(first, 1)  # it is judged meanwhile
    checkpoint(first, 2)
    assert snapshot.save()

    second = tmp_path / "second"
    second.mkdir()
    goes_on = RunSnapshot(store(objects), second)
    assert goes_on.restore() == "s3://bucket/manifests/a.json"
    assert files(second) == files(first)
    assert (second / "weights" / "model.safetensors").read_bytes() == b"\2"
    written = objects.listed("jobs/job/")
    assert not goes_on.save()
    assert objects.listed("jobs/job/") == written

    # Old checkpoints go, in the store too.
    for path in sorted((second / "checkpoints" / "step-00000001").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (second / "checkpoints" / "step-00000001").rmdir()
    checkpoint(second, 3)
    assert goes_on.save()
    state = json.loads(objects.get("jobs/job/state.json") or b"")
    kept = {file["key"] for file in state["files"].values()}
    assert kept == set(objects.listed("jobs/job/state/"))
    assert {Path(name).parts[1] for name in state["files"] if "/" in name} == {
        "step-00000002", "step-00000003",
    }  # fmt: skip
    goes_on.remove()
    assert objects.listed("jobs/") == {}


@pytest.mark.parametrize("fault", ["missing", "damaged", "outside", "no state"])
def test_a_snapshot_that_cannot_be_used(objects: ObjectStore, tmp_path: Path, fault: str) -> None:
    snapshot = RunSnapshot(store(objects), tmp_path / "first")
    snapshot.begin("s3://bucket/a")
    checkpoint(tmp_path / "first", 1)
    snapshot.save()
    state = json.loads(objects.get("jobs/job/state.json") or b"")
    name = next(name for name in state["files"] if name.endswith("state.pt"))
    key = state["files"][name]["key"]
    if fault == "missing":
        objects.delete(key)
    elif fault == "damaged":
        objects.put(key, b"x")
    elif fault == "outside":
        state["files"]["../../outside"] = state["files"].pop(name)
    objects.put("jobs/job/state.json", b"[" if fault == "no state" else json.dumps(state).encode())
    (tmp_path / "second").mkdir()
    with pytest.raises(JobError) as caught:
        RunSnapshot(store(objects), tmp_path / "second").restore()
    assert caught.value.code == "damaged_state"
    assert not (tmp_path / "outside").exists()


def test_another_request_does_not_take_it(objects: ObjectStore, tmp_path: Path) -> None:
    RunSnapshot(store(objects), tmp_path).begin("s3://bucket/a")
    with pytest.raises(JobError) as caught:
        RunSnapshot(store(objects, "other"), tmp_path).restore()
    assert caught.value.code == "job_id_taken"
