"""The serverless worker with the runpod SDK: its local server, and its loop against a platform."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from rasterio.enums import ColorInterp
from rasters import smooth, write_tiff
from servers.runpod_worker import free_port, runpod_worker, wait_for_port
from servers.scripted import Call, Reply, scripted

from detection.segmenters.landcover.weights import load_landcover
from pipeline.store.objects.folder_or_bucket import open_objects

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def image(folder: Path) -> bytes:
    return write_tiff(folder / "a.tif", smooth(3, 90, 90), colours=RGB).read_bytes()


def test_jobs_on_the_local_server_of_the_sdk(tmp_path: Path, s3_bucket: str) -> None:
    open_objects(s3_bucket).put("flight/a.tif", image(tmp_path))
    port = free_port()
    arguments = ("--rp_serve_api", "--rp_api_port", str(port))
    results = f"{s3_bucket}/results"
    with runpod_worker(tmp_path, *arguments, LOTLINE_RESULTS=results) as worker:
        wait_for_port(worker, port, tmp_path)

        def run(**asked: Any) -> dict[str, Any]:
            url = f"http://127.0.0.1:{port}/runsync"
            response = requests.post(url, json={"input": asked}, timeout=120)
            assert response.status_code == 200, response.text
            found: dict[str, Any] = response.json()
            return found

        asked = {
            "type": "detect", "images": [f"{s3_bucket}/flight/a.tif"], "labels": ["lawn", "tree"],
        }  # fmt: skip
        with ThreadPoolExecutor(2) as pool:  # twice at once
            first, second = pool.map(lambda _: run(**asked, job_id="mine"), range(2))
        assert first["status"] == "COMPLETED", first
        output = first["output"]
        assert output | {"repeated": True} == second["output"] | {"repeated": True}
        assert output["weights_sha256"] == load_landcover().sha256
        assert output["manifest"] == f"{results}/jobs/mine/manifest.json"
        manifest = json.loads(open_objects(results).get("jobs/mine/manifest.json") or b"")
        files = manifest["images"][0]["files"]
        assert set(files) == {
            "a.lawn.mask.tif", "a.tree.mask.tif", "a.geojson", "a.overlay.png",
        }  # fmt: skip
        for file in files.values():
            assert len(open_objects(results).get(file["key"]) or b"") == file["bytes"]

        failed = run(type="detect", images=["/etc/passwd"])
        assert failed["status"] == "FAILED"
        error = json.loads(failed["error"])
        assert error["code"] == "invalid_input"
        assert error["weights_sha256"] == output["weights_sha256"]
        assert "Traceback" not in failed["error"]

        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=120)
    text = (tmp_path / "output").read_text()
    assert "a-secret-of-tests" not in text


@dataclass
class Platform:
    """What the SDK talks to: it takes jobs from here, and sends progress and results."""

    jobs: list[dict[str, Any]]
    image: bytes
    posted: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    on_image: Any = lambda: None

    def reply(self, call: Call) -> Reply:
        if call.path.startswith("/job-take/"):
            if self.jobs:
                job = json.dumps(self.jobs.pop(0)).encode()
                return Reply(job, 200, {"Content-Type": "application/json"})
            self.done.wait(60)  # as the platform does: an answer comes when there is a job
            return Reply(b"", 204)
        if call.path.startswith("/job-stop/"):
            self.done.wait(60)
            return Reply(b"", 204)
        if call.path.startswith("/done/"):
            self.posted.setdefault(call.path.rpartition("/")[2], []).append(json.loads(call.body))
            return Reply(b"")
        self.on_image()
        return Reply(self.image)


@pytest.mark.long
def test_the_worker_loop_of_the_sdk_until_sigterm(tmp_path: Path) -> None:
    platform = Platform([], image(tmp_path))
    with scripted(platform.reply) as server:
        asked = {"type": "detect", "labels": ["lawn"], "images": [f"{server.address}/a.tif"]}
        platform.jobs += [{"id": "one-u1", "input": asked}, {"id": "two-u1", "input": asked}]
        environment = {
            "LOTLINE_RESULTS": str(tmp_path / "results"),
            "LOTLINE_ALLOW_PRIVATE": "1",
            "SEGMENTER": "spectral",
            "RUNPOD_WEBHOOK_GET_JOB": f"{server.address}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{server.address}/done/$ID?gpu=none",
        }
        with runpod_worker(tmp_path, **environment) as worker:

            def stop_at_the_second_job() -> None:
                if "one-u1" in platform.posted and not platform.jobs:
                    worker.send_signal(signal.SIGTERM)
                    platform.done.set()

            platform.on_image = stop_at_the_second_job
            assert worker.wait(timeout=180) == 0, (tmp_path / "output").read_text()
    *progress, result = platform.posted["one-u1"]
    assert {each["status"] for each in progress} == {"IN_PROGRESS"}
    assert "downloading images" in {each["output"]["stage"] for each in progress}
    assert result["output"]["images"] == {"done": 1, "failed": 0}, result
    assert Path(result["output"]["manifest"]).is_file()
    [stopped] = [each for each in platform.posted["two-u1"] if "error" in each]
    assert json.loads(stopped["error"])["code"] == "stopped"
    assert not (tmp_path / "results" / "jobs" / "two-u1").exists()
