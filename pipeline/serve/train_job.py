"""A train job: `lotline train` on exported corrections, in a process of its own.

So a crash, a lack of memory or a stop ends the training and not the worker, and the GPU is free
afterwards. Each checkpoint is stored; a job that ended early goes on from the last one, on any
worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from detection.training.run_record import read_run
from parcels.untrusted import sanitize_text
from pipeline.errors import JobError
from pipeline.exit_codes import INTERRUPTED
from pipeline.learning.traced_folder import open_manifest
from pipeline.serve.image_download import download
from pipeline.serve.job_context import JobContext, stopped
from pipeline.serve.job_input import SAM3_DECODER, TrainJobInput
from pipeline.serve.run_snapshot import RunSnapshot

_COMMAND: Final = (sys.executable, "-c", "from pipeline.cli import main; main()", "train")
_PACK: Final = "pack.npz"
_LOOK_EVERY_S: Final = 1.0
_NO_PROVEN_WEIGHTS: Final = 1
# Of the best checkpoint, what detection and `lotline models add` need.
_RECORDS: Final = ("run.json", "metrics.jsonl", "curves.png", "best.json",
                   "corrections/manifest.json")  # fmt: skip


def run_train_job(asked: TrainJobInput, context: JobContext) -> dict[str, Any]:
    """Train, or go on; store the run with its best weights, and write the manifest last.

    Nothing is registered: `lotline models add` does, where the database is.

    Raises:
        JobError: the training failed, or the job must end.
        ManifestError: the corrections are missing or damaged.
        ObjectStoreError: something cannot be read or stored.
    """
    finished = context.store.finished()
    if finished is not None:
        return _answer(finished, context, repeated=True)
    run = context.folder / "run"
    run.mkdir()
    snapshot = RunSnapshot(context.store, run)
    context.report("preparing")
    corrections = snapshot.restore() or _pinned(asked.corrections)
    snapshot.begin(corrections)
    rehearsal = _rehearsal(asked, context)
    command = _command(asked, corrections, run, rehearsal, context.worker.sam3_weights)
    code = _train(command, run, snapshot, context)
    snapshot.save()
    how = _how_it_ended(run)
    if context.stop.is_set() and how != "finished":
        raise stopped(_what_is_kept(run))
    if how == "time limit" and code in (0, _NO_PROVEN_WEIGHTS):
        return _unfinished(run, context)
    if code != 0:
        raise _failure(code, how, context.folder)
    context.report("storing results")
    manifest = context.store.finish(_content(asked, corrections, run, context))
    snapshot.remove()
    return _answer(manifest, context, repeated=False)


def _pinned(address: str) -> str:
    """The address of the manifest under its hash, which later exports do not change."""
    objects, manifest = open_manifest(address)
    digest = hashlib.sha256(manifest.model_dump_json(indent=1).encode()).hexdigest()
    key = f"manifests/{digest}.json"
    return address if objects.get(key) is None else f"{objects.address}/{key}"


def _rehearsal(asked: TrainJobInput, context: JobContext) -> Path | None:
    if asked.rehearsal is None:
        return None
    folder = context.folder / "data"
    path = download(
        asked.rehearsal, folder, allow_private=False, check_stopped=context.check_stopped
    )
    return path.replace(folder / _PACK).parent


def _command(
    asked: TrainJobInput,
    corrections: str,
    run: Path,
    data: Path | None,
    sam3_weights: str | None,
) -> list[str]:
    """`lotline train` with the job's options; every run can be resumed."""
    options: dict[str, object] = {
        "--from": corrections, "--out": run, "--data": data, "--seed": asked.seed,
        "--steps": asked.steps, "--length": asked.length, "--time-limit": asked.time_limit,
        "--tier": asked.tier, "--weights": sam3_weights if asked.what == SAM3_DECODER else None,
    }  # fmt: skip
    command = [*_COMMAND, asked.what, "--resume"]
    command += [f"{name}={value}" for name, value in options.items() if value is not None]
    return command + [f"--set={name}={value}" for name, value in asked.settings.items()]


def _train(command: list[str], run: Path, snapshot: RunSnapshot, context: JobContext) -> int:
    """Run the training to its end, store its checkpoints, and report; its exit code."""
    context.check_stopped()
    with (
        (context.folder / "stderr").open("wb") as errors,
        # Of a session of its own: what stops the worker stops the training by `stop` alone.
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "LOG_FORMAT": "text"},
        ) as training,
    ):  # fmt: skip
        try:
            is_stopping = False
            while True:
                try:
                    return training.wait(timeout=_LOOK_EVERY_S)
                except subprocess.TimeoutExpired:
                    snapshot.save()
                    context.report("training", **_progress(run))
                if context.stop.is_set() and not is_stopping:
                    training.send_signal(signal.SIGTERM)
                    is_stopping = True
        except BaseException:
            training.kill()
            raise


def _progress(run: Path) -> dict[str, object]:
    """The last step with its loss."""
    last = _last_metrics(run / "metrics.jsonl")
    if last is None:
        return {}
    steps = _json(run / "run.json").get("settings", {}).get("steps")
    return {"step": last["step"] + 1, "steps": steps, "loss": last["loss"]}


def _last_metrics(path: Path) -> dict[str, Any] | None:
    """The last complete row of a file that may be long and is being written."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row:
            return row
    return None


def _how_it_ended(run: Path) -> str:
    return str(_json(run / "run.json").get("ended", {}).get("how", ""))


def _what_is_kept(run: Path) -> str:
    steps = _steps_saved(run)
    return f"the training goes on after step {steps}" if steps else "no checkpoint was saved yet"


def _steps_saved(run: Path) -> int:
    names = [path.name for path in (run / "checkpoints").glob("step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def _failure(code: int, how: str, folder: Path) -> JobError:
    text = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
    text = text.replace(f"{folder}/", "")
    if code < 0:
        name = signal.Signals(-code).name
        return JobError(
            "training_killed", f"the training was killed by {name}",
            "if it was short of memory, set a smaller batch; submit it again with the same job_id",
        )  # fmt: skip
    if code == _NO_PROVEN_WEIGHTS and how == "finished":  # and no error that nobody expected
        return JobError(
            "no_proven_weights", f"no checkpoint is proven: {_last_words(text)}",
            "train longer or with other settings, under another job_id",
        )  # fmt: skip
    if code == INTERRUPTED:
        return stopped("the training goes on from its last checkpoint")
    return JobError("training_failed", _last_words(text), "correct the corrections or the settings")


def _last_words(text: str) -> str:
    """The error that a command printed last, or its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    for at in range(len(lines) - 1, -1, -1):
        start, _, message = lines[at].partition(": ")
        if start.lower() == "error":
            return sanitize_text(" ".join([message, *lines[at + 1 :]]), 1000)
    return sanitize_text(lines[-1] if lines else "without a message", 1000)


def _unfinished(run: Path, context: JobContext) -> dict[str, Any]:
    best = _json(run / "best.json")
    return {
        "job_id": context.store.job_id,
        "type": "train",
        "state": "time limit",
        "step": _steps_saved(run),
        "weights_sha256": best.get("weights_sha256"),
        "score": best.get("score"),
        "next": "submit the job again with the same job_id to continue the training",
        "repeated": False,
    }


def _content(
    asked: TrainJobInput, corrections: str, run: Path, context: JobContext
) -> dict[str, Any]:
    """The manifest of a finished run, after its files are stored."""
    record, best = read_run(run), _json(run / "best.json")
    recipe = record.get("recipe_settings", {})
    checkpoint = f"checkpoints/{best['checkpoint']}"
    names = [name for name in _RECORDS if (run / name).is_file()]
    names += [f"{checkpoint}/proof.json"]
    names += [
        path.relative_to(run).as_posix()
        for path in sorted((run / checkpoint / "weights").iterdir())
    ]
    return {
        "type": "train",
        "what": asked.what,
        "corrections": corrections,
        "base_sha256": recipe.get("base_sha256", recipe.get("start_sha256")),
        "data_sha256": record.get("data_sha256"),
        "weights_sha256": best["weights_sha256"],
        "weights": f"{context.store.files_address}/{checkpoint}/weights",
        "score": best["score"],
        "figures": best.get("figures"),
        "step": record["ended"]["step"],
        "seconds": record["ended"]["seconds"],
        "files": {name: context.store.put_file(name, run / name) for name in names},
    }


def _answer(manifest: Mapping[str, Any], context: JobContext, *, repeated: bool) -> dict[str, Any]:
    kept = ("job_id", "type", "what", "weights", "weights_sha256", "base_sha256", "score", "step")
    return {
        **{name: manifest.get(name) for name in kept},
        "state": "finished",
        "manifest": context.store.manifest_address,
        "repeated": repeated,
    }


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of a run's folder; empty while there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
