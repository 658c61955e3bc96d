"""The serverless worker: its input, its errors, its idempotence; without the SDK."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rasterio.enums import ColorInterp
from rasters import ThresholdSegmenter, smooth, write_tiff
from servers.bucket import Bucket, bucket_server
from servers.scripted import Reply

from detection.errors import LabelError, SegmenterError
from detection.segmenters.landcover.weights import load_landcover
from parcels.arcgis.http import address_guard
from parcels.arcgis.http.address_guard import ResolvedAddress
from parcels.errors import AddressRefused
from pipeline.errors import JobError, ModelError, ObjectStoreError, SettingsError
from pipeline.log import configure
from pipeline.serve import image_download, runpod_handler, train_job
from pipeline.serve.job_errors import error_answer, failure_of
from pipeline.serve.job_input import (
    TrainJobInput,
    parse_job,
    public_address,
    request_sha256,
)
from pipeline.serve.job_runner import run_job
from pipeline.serve.runpod_handler import JobHandler, with_api_host
from pipeline.serve.worker import Worker, start_worker, worker_settings
from pipeline.store.models.champion_file import read_champion, write_champion
from pipeline.store.models.model_files import files_in
from pipeline.store.objects.folder_or_bucket import open_objects

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
DETECT = {"type": "detect", "images": ["https://x.example/a.tif"]}
TRAIN = {"type": "train", "what": "landcover-decoder", "corrections": "s3://bucket/pairs"}


# ------------------------------------------------------------------------------ the import


def test_the_import_has_no_side_effects_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "runpod", "pydantic", "numpy", "requests", "parcels", "detection", "boto3")
    code = (
        "import logging, signal, sys; root = logging.getLogger(); "
        "before = (root.level, list(root.handlers), signal.getsignal(signal.SIGTERM)); "
        "import pipeline.serve.runpod_handler; "
        "assert before == (root.level, list(root.handlers), signal.getsignal(signal.SIGTERM)); "
        f"print(*sorted({set(heavy)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# ------------------------------------------------------------------------------- the input


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (None, "the input: "),
        ({"type": "sing"}, "'detect', 'train'"),
        ({"type": "detect"}, "images: Field required"),
        ({**DETECT, "images": []}, "images: Tuple should have at least 1 item"),
        ({**DETECT, "imgs": 1}, "imgs: Extra inputs are not permitted"),
        ({**DETECT, "images": ["/etc/passwd"]}, "images.0: write an address"),
        ({**DETECT, "images": ["file:///etc/passwd"]}, "images.0: write an address"),
        ({**DETECT, "images": ["/vsicurl/http://a/b.tif"]}, "images.0: write an address"),
        ({**DETECT, "images": ["https://u:p@a.example/b.tif"]}, "must not have a user name"),
        ({**DETECT, "images": ["s3://Bucket?/a"]}, "is not an address in a bucket"),
        ({**DETECT, "gsd_m": -1}, "gsd_m: "),
        ({**DETECT, "crs": "+proj=longlat"}, "crs: "),
        ({**DETECT, "job_id": "../../x"}, "job_id: "),
        ({**TRAIN, "corrections": "/data/pairs"}, "corrections: write s3://bucket"),
        ({**TRAIN, "what": "everything"}, "what: "),
        ({**TRAIN, "time_limit": "soon"}, "time_limit: 'soon' is not a duration"),
        ({**TRAIN, "settings": {"start": "../other"}}, "settings.start: a value has letters"),
        ({**TRAIN, "settings": {"--out": "x"}}, "settings.--out"),
        ({**TRAIN, "tier": "heads"}, "'tier' is of sam3-decoder"),
        ({**TRAIN, "what": "sam3-decoder", "rehearsal": "s3://bucket/a"}, "'rehearsal' is of"),
    ],
)  # fmt: skip
def test_a_wrong_input_says_what_is_wrong(asked: Any, message: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_job({"id": "a", "input": asked})
    assert caught.value.code == "invalid_input"
    assert message in str(caught.value)


def test_the_id_is_the_clients_or_the_platforms() -> None:
    assert parse_job({"id": "sync-1", "input": DETECT})[0] == "sync-1"
    assert parse_job({"id": "sync-1", "input": {**DETECT, "job_id": "mine"}})[0] == "mine"
    with pytest.raises(JobError):
        parse_job({"id": "a/b", "input": DETECT})


def test_a_fresh_signature_is_the_same_request() -> None:
    def digest(images: list[str], **more: Any) -> str:
        return request_sha256(
            parse_job({"id": "a", "input": {**DETECT, "images": images, **more}})[1]
        )

    url = "https://b.example/a.tif?versionId=3"
    once = digest([f"{url}&X-Amz-Signature=secret&X-Amz-Expires=60"])
    assert once == digest([f"{url}&X-Amz-Signature=def"]) == digest([url])
    assert once != digest(["https://b.example/a.tif?versionId=4"])
    assert once != digest([url], labels=["lawn"])
    assert public_address(f"{url}&X-Amz-Signature=secret&sig=1&access_token=q") == url

    def trained(**more: Any) -> str:
        return request_sha256(parse_job({"id": "a", "input": {**TRAIN, **more}})[1])

    assert trained(time_limit="5m", job_id="x") == trained()
    assert trained(steps=3) != trained()
    assert trained(settings={"batch": 2}) == trained(settings={"batch": "2"})


# ------------------------------------------------------------------------------ the errors


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobError("mine", "what", "cure"), "mine"),
        (AddressRefused("x"), "address_refused"),
        (LabelError("x"), "invalid_labels"),
        (ObjectStoreError("x"), "store_unavailable"),
        (SegmenterError("x"), "segmenter_failed"),
        (OutOfMemoryError("CUDA"), "out_of_memory"),
        (OSError(28, "No space left on device"), "worker_failed"),
        (KeyError("secret-of-the-code"), "internal"),
    ],
)
def test_every_error_has_a_code_a_message_and_a_cure(error: Exception, code: str) -> None:
    failure = failure_of(error)
    assert failure["code"] == code
    assert failure["message"]
    assert failure["cure"]
    assert "secret-of-the-code" not in json.dumps(failure)
    answer = error_answer(failure, {"job_id": "a", "weights_sha256": "w"})
    assert json.loads(answer["error"]) == {**failure, "job_id": "a", "weights_sha256": "w"}


def test_no_secret_is_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "hunter2hunter2")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        configure("WARNING")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    failure = failure_of(ObjectStoreError("s3 said: hunter2hunter2, ?X-Amz-Signature=0badc0de"))
    assert "hunter2" not in failure["message"]
    assert "0badc0de" not in failure["message"]


# ------------------------------------------------------------------------------ detect jobs


@pytest.fixture
def images() -> Iterator[tuple[Bucket, str]]:
    bucket = Bucket()
    with bucket_server(bucket) as server:
        yield bucket, server.address


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(
        open_objects(str(tmp_path / "results")), ThresholdSegmenter(), "spectral",
        allow_private=True, work=None,
    )  # fmt: skip


def tiff(tmp_path: Path, name: str, side: int = 60) -> bytes:
    return write_tiff(tmp_path / name, smooth(3, side, side), colours=RGB).read_bytes()


def answer_of(worker: Worker, stop: threading.Event | None = None, **asked: Any) -> dict[str, Any]:
    job = {"id": "job-1", "input": {"type": "detect", "labels": ["lawn"], **asked}}
    return run_job(worker, job, lambda *_: None, stop or threading.Event())


def error_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    assert set(answer) == {"error"}
    found: dict[str, Any] = json.loads(answer["error"])
    assert {"code", "message", "cure", "weights_sha256"} <= set(found)
    assert "Traceback" not in answer["error"]
    return found


def test_a_detect_job_and_its_repetition(
    worker: Worker, images: tuple[Bucket, str], tmp_path: Path
) -> None:
    bucket, url = images
    bucket.files = {"a.tif": tiff(tmp_path, "a.tif"), "b/a.tif": tiff(tmp_path, "b.tif", 80)}
    reports: list[Mapping[str, object]] = []
    asked = [f"{url}/a.tif", f"{url}/b/a.tif?X-Amz-Signature=secret", f"{url}/missing.tif"]
    job = {"id": "job-1", "input": {"type": "detect", "labels": ["lawn"], "images": asked}}
    answer = run_job(worker, job, lambda _, progress: reports.append(progress), threading.Event())
    assert "error" not in answer, answer
    assert answer["images"] == {"done": 2, "failed": 1}
    assert answer["weights_sha256"] == worker.weights_sha256
    assert not answer["repeated"]
    assert [each["stage"] for each in reports] == [
        "downloading images", "detecting", "storing results",
    ]  # fmt: skip
    data = worker.objects.get("jobs/job-1/manifest.json")
    assert data is not None
    manifest = json.loads(data)
    assert answer["manifest"] == f"{worker.objects.address}/jobs/job-1/manifest.json"
    assert "secret" not in data.decode()
    one, two, missing = manifest["images"]
    assert two["image"] == f"{url}/b/a.tif"
    assert (missing["status"], missing["image"]) == ("failed", f"{url}/missing.tif")
    assert "error 404" in missing["error"]
    for entry in (one, two):
        suffixes = sorted(name.rpartition(".")[2] for name in entry["files"])
        assert suffixes == ["geojson", "png", "tif"]
        for file in entry["files"].values():
            assert len(worker.objects.get(file["key"]) or b"") == file["bytes"]
    area_m2 = sum(entry["areas_m2"]["lawn"] for entry in (one, two))
    assert answer["areas_m2"]["lawn"] == pytest.approx(area_m2, abs=0.2)

    bucket.files = {}  # nothing is fetched again
    again = answer_of(worker, images=asked)
    assert again == answer | {"repeated": True}
    other = error_of(answer_of(worker, images=asked[:1]))
    assert other["code"] == "job_id_taken"


def test_a_job_that_failed_is_repeated(
    worker: Worker, images: tuple[Bucket, str], tmp_path: Path
) -> None:
    bucket, url = images
    failed = error_of(answer_of(worker, images=[f"{url}/a.tif"]))
    assert failed["code"] == "no_usable_image"
    assert "error 404" in failed["message"]
    assert worker.objects.listed("jobs/") == {}
    bucket.files = {"a.tif": tiff(tmp_path, "a.tif")}
    assert answer_of(worker, images=[f"{url}/a.tif"])["images"]["done"] == 1


def test_two_attempts_at_once_have_one_result(
    worker: Worker, images: tuple[Bucket, str], tmp_path: Path
) -> None:
    bucket, url = images
    bucket.files = {"a.tif": tiff(tmp_path, "a.tif")}
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(answer_of, worker, images=[f"{url}/a.tif"]) for _ in range(3)]
        answers = [each.result() for each in futures]
    assert len({json.dumps(each | {"repeated": False}) for each in answers}) == 1
    manifests = [key for key in worker.objects.listed("jobs/") if key.endswith("manifest.json")]
    assert manifests == ["jobs/job-1/manifest.json"]
    manifest = json.loads(worker.objects.get(manifests[0]) or b"")
    for file in manifest["images"][0]["files"].values():
        assert worker.objects.get(file["key"]) is not None


def test_a_job_that_is_stopped_leaves_no_manifest(
    worker: Worker, images: tuple[Bucket, str], tmp_path: Path
) -> None:
    bucket, url = images
    bucket.files = {"a.tif": tiff(tmp_path, "a.tif")}
    stop = threading.Event()

    class Stopping(ThresholdSegmenter):
        def segment(self, *arguments: Any) -> Any:
            stop.set()
            return super().segment(*arguments)

    stopping = replace(worker, segmenter=Stopping())
    assert error_of(answer_of(stopping, stop, images=[f"{url}/a.tif"]))["code"] == "stopped"
    assert worker.objects.listed("jobs/") == {}


def test_labels_that_the_segmenter_does_not_know(worker: Worker) -> None:
    landcover = replace(worker, chosen_segmenter="landcover")
    failed = error_of(answer_of(landcover, images=["https://x.example/a.tif"], labels=["fence"]))
    assert failed["code"] == "invalid_labels"


# -------------------------------------------------------------------------------- download


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "10.0.0.3", "fd00:ec2::254"])
def test_internal_addresses_are_refused(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def resolved(*_: object) -> list[ResolvedAddress]:
        return [ResolvedAddress(socket.AF_INET, socket.SOCK_STREAM, 0, (address, 80))]

    monkeypatch.setattr(address_guard, "_resolve", resolved)
    public_only = replace(worker, allow_private=False)
    failed = error_of(answer_of(public_only, images=["http://images.example/a.tif"]))
    assert failed["code"] == "address_refused"
    assert not re.search("registry|county|url'", failed["message"] + failed["cure"])


def test_a_redirect_to_an_internal_address_is_refused(
    worker: Worker, images: tuple[Bucket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, url = images
    bucket.always = lambda _: Reply(b"", 302, {"Location": "http://metadata.example/latest"})

    def resolved(host: str, port: int) -> list[ResolvedAddress]:
        at = "169.254.169.254" if host == "metadata.example" else "127.0.0.1"
        return [ResolvedAddress(socket.AF_INET, socket.SOCK_STREAM, 0, (at, port))]

    monkeypatch.setattr(address_guard, "_resolve", resolved)
    failed = error_of(answer_of(worker, images=[f"{url}/a.tif"]))
    assert failed["code"] == "address_refused"
    assert "169.254.169.254" in failed["message"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_of_several_parts(
    images: tuple[Bucket, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    bucket, url = images
    content = np.random.default_rng(0).bytes(2_500)
    bucket.files, bucket.ranges = {"x/the%20image%20(1).tif": content}, ranges
    monkeypatch.setattr(image_download, "_PART_BYTES", 1_000)
    path = image_download.download(
        f"{url}/x/the%20image%20(1).tif", tmp_path, allow_private=True, check_stopped=lambda: None
    )
    assert path.read_bytes() == content
    assert path.name == "the_image_1_.tif"


def test_every_address_of_a_name_is_tried(
    images: tuple[Bucket, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one, over IPv6, has no server."""
    bucket, url = images
    bucket.files = {"a.tif": b"content"}
    port = int(url.rpartition(":")[2])

    def resolved(*_: object) -> list[ResolvedAddress]:
        six = ResolvedAddress(socket.AF_INET6, socket.SOCK_STREAM, 0, ("::1", port, 0, 0))
        four = ResolvedAddress(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", port))
        return [six, four]

    monkeypatch.setattr(address_guard, "_resolve", resolved)
    path = image_download.download(
        f"http://images.example:{port}/a.tif", tmp_path, allow_private=True,
        check_stopped=lambda: None,
    )  # fmt: skip
    assert path.read_bytes() == b"content"


# ------------------------------------------------------------------------------ train jobs


def test_the_command_of_a_training(tmp_path: Path) -> None:
    def command(**asked: Any) -> list[str]:
        _, job = parse_job({"id": "a", "input": {**TRAIN, **asked}})
        assert isinstance(job, TrainJobInput)
        return train_job._command(job, "s3://bucket/m.json", tmp_path, None, "facebook/sam3")[3:]

    plain = command(steps=3, time_limit="5m", settings={"batch": 2, "fixed_norms": True})
    assert plain == [
        "train", "landcover-decoder", "--resume", "--from=s3://bucket/m.json", f"--out={tmp_path}",
        "--seed=0", "--steps=3", "--time-limit=5m", "--set=batch=2", "--set=fixed_norms=true",
    ]  # fmt: skip
    of_sam3 = command(what="sam3-decoder", tier="mask")
    assert {"sam3-decoder", "--tier=mask", "--weights=facebook/sam3"} <= set(of_sam3)


@pytest.mark.parametrize(
    ("code", "how", "stderr", "expected", "message"),
    [
        (2, "", "INFO: loading\nERROR: no pair for\n  training\n", "training_failed",
         "no pair for   training"),
        (1, "finished", "WARNING: no checkpoint is proven\n", "no_proven_weights", "proven"),
        (1, "", "Traceback …\n  File …\nKeyError: 'a'\n", "training_failed", "KeyError: 'a'"),
        (130, "interrupted", "", "stopped", "goes on"),
        (-9, "", "", "training_killed", "SIGKILL"),
        (3, "finished", "", "training_failed", "without a message"),
    ],
)  # fmt: skip
def test_how_a_training_failed(
    tmp_path: Path, code: int, how: str, stderr: str, expected: str, message: str
) -> None:
    (tmp_path / "stderr").write_text(stderr)
    error = train_job._failure(code, how, tmp_path)
    assert error.code == expected
    assert message in error.message


def test_the_last_row_of_metrics_that_are_being_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert train_job._last_metrics(path) is None
    rows = [json.dumps({"step": step, "loss": 0.5, "terms": {"a": 1.0}}) for step in range(2_000)]
    path.write_text("\n".join(rows) + '\n{"step": 2000, "lo')
    last = train_job._last_metrics(path)
    assert last is not None
    assert last["step"] == 1_999


# ----------------------------------------------------------------------- the worker's start


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "LOTLINE_RESULTS": str(tmp_path / "results"), "LOTLINE_HOME": str(tmp_path / "home"),
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LOTLINE_RESULTS": ""}, "LOTLINE_RESULTS is not set"),
        ({"SEGMENTER": "magic"}, "choose from spectral, landcover"),
        ({"LOTLINE_ALLOW_PRIVATE": "perhaps"}, "write 1 or 0"),
        ({"LOG_LEVEL": "LOUD"}, "choose from DEBUG"),
    ],
)
def test_wrong_settings(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        worker_settings(environment(tmp_path, **change))


def test_the_weights_are_those_of_the_champion(tmp_path: Path) -> None:
    own = load_landcover().sha256
    folder = Path(load_landcover.__code__.co_filename).parent / "weights"
    plain = start_worker(worker_settings(environment(tmp_path)))
    assert plain.weights_sha256 == own
    where = write_champion(str(tmp_path / "pointer"), "landcover", own, files_in(folder))
    named = environment(tmp_path, LOTLINE_CHAMPION=where)
    assert start_worker(worker_settings(named)).weights_sha256 == own
    assert (tmp_path / "home" / "models" / own / "model.safetensors").is_file()
    # The next start needs the champion file and no weights: they are in the cached volume.
    for path in (tmp_path / "pointer" / "models").rglob("*.safetensors"):
        path.unlink()
    assert start_worker(worker_settings(named)).weights_sha256 == own
    # Weights that are not what was registered are never used.
    wrong = write_champion(str(tmp_path / "wrong"), "landcover", "0" * 64, files_in(folder))
    with pytest.raises(ModelError, match="have the hash"):
        start_worker(worker_settings(environment(tmp_path, LOTLINE_CHAMPION=wrong)))


def test_a_champion_file_that_cannot_be_used(tmp_path: Path) -> None:
    where = write_champion(str(tmp_path), "landcover", None, {})
    assert read_champion(where, "landcover") is None
    with pytest.raises(ModelError, match="champion of landcover, not of sam3"):
        read_champion(where, "sam3")
    with pytest.raises(ModelError, match="lotline models publish"):
        read_champion(str(tmp_path / "champion.json"), "landcover")
    with pytest.raises(ModelError, match="does not exist"):
        read_champion(where.replace("landcover", "other"), "landcover")
    Path(where).write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        read_champion(where, "landcover")


# ------------------------------------------------------------------------------ the handler


def test_the_local_server_gets_an_address() -> None:
    assert with_api_host(["x"]) == ["x"]
    given = ["x", "--rp_serve_api", "--rp_api_port", "1"]
    assert with_api_host(given) == [*given, "--rp_api_host", "127.0.0.1"]
    assert with_api_host([*given, "--rp_api_host=::"]) == [*given, "--rp_api_host=::"]


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Jobs that run until they are stopped; set when one has begun."""
    running = threading.Event()

    def run(_worker: object, job: Mapping[str, Any], _report: object, stop: threading.Event) -> Any:
        running.set()
        assert stop.wait(60)
        return {"stopped": job["id"]}

    monkeypatch.setattr("pipeline.serve.job_runner.run_job", run)
    return running


async def _began(running: threading.Event) -> None:
    assert await asyncio.to_thread(running.wait, 60)


def test_sigterm_stops_running_jobs_then_the_handler_before_is_called(
    began: threading.Event,
) -> None:
    before: list[int] = []
    kept = signal.signal(signal.SIGTERM, lambda number, _: before.append(number))
    handler = JobHandler(SimpleNamespace(), lambda *_: None)  # type: ignore[arg-type]

    async def serve() -> Any:
        job = asyncio.ensure_future(handler({"id": "a"}))
        await _began(began)
        os.kill(os.getpid(), signal.SIGTERM)
        first = await job
        return first, await handler({"id": "b"})  # a job that comes later is stopped at once

    try:
        assert asyncio.run(serve()) == ({"stopped": "a"}, {"stopped": "b"})
        assert before == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, kept)


def test_a_cancelled_job_has_ended_before_the_next_one(began: threading.Event) -> None:
    kept = signal.getsignal(signal.SIGTERM)
    handler = JobHandler(SimpleNamespace(), lambda *_: None)  # type: ignore[arg-type]

    async def serve() -> None:
        job = asyncio.ensure_future(handler({"id": "a"}))
        await _began(began)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert handler._running == set()

    try:
        asyncio.run(serve())
    finally:
        signal.signal(signal.SIGTERM, kept)


def test_progress_is_sent_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK sends it in threads, which may be slower than the job."""
    is_ending = threading.Event()
    sent: list[object] = []

    def send(_job: object, progress: object) -> None:
        def later() -> None:
            assert is_ending.wait(60)
            sent.append(progress)

        threading.Thread(target=later, daemon=True).start()

    def run(_worker: object, job: Any, report: Any, _stop: object) -> dict[str, Any]:
        for stage in range(3):
            report(job, stage)
        is_ending.set()
        return {}

    monkeypatch.setattr("pipeline.serve.job_runner.run_job", run)
    kept = signal.getsignal(signal.SIGTERM)
    try:
        asyncio.run(JobHandler(SimpleNamespace(), send)({"id": "a"}))  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGTERM, kept)
    assert sorted(sent, key=str) == [0, 1, 2]


def test_the_worker_does_not_start_without_its_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LOTLINE_RESULTS", raising=False)
    assert runpod_handler.main() == 2
    assert capsys.readouterr().err.startswith("error: LOTLINE_RESULTS is not set: write where")
