"""The checkpoints of an unfinished training in the object store, to continue it on any worker.

`state.json` names the files of a snapshot by their hash, and is written after them: a worker that
is killed leaves the snapshot before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from detection.training.atomic import DRAFT_PREFIX
from pipeline.errors import JobError
from pipeline.serve.job_store import JobStore
from pipeline.store.objects.folder_or_bucket import content_key

_STATE: Final = "state.json"
_RECORDS: Final = ("run.json", "metrics.jsonl", "proofs.jsonl", "best.json", "mlflow.json")
_CHECKPOINTS: Final = "checkpoints"
_PROOF: Final = "proof.json"
_WEIGHTS: Final = "weights"

_Files = dict[str, dict[str, Any]]


class RunSnapshot:
    """The snapshot of a job's run.

    Args:
        run: the folder of the run on this machine.
    """

    def __init__(self, store: JobStore, run: Path) -> None:
        self._store, self._run = store, run
        self._files: _Files = {}
        self._corrections = ""
        self._saved: tuple[tuple[str, bool], ...] = ()
        self._digests: dict[tuple[str, int, int], dict[str, Any]] = {}

    def restore(self) -> str | None:
        """Copy the snapshot to this machine; the address of its corrections, None without one.

        Raises:
            JobError: it is of another request, or a file of it is missing or damaged.
            ObjectStoreError: it cannot be read.
        """
        data = self._store.objects.get(f"{self._store.prefix}/{_STATE}")
        if data is None:
            return None
        try:
            state = json.loads(data)
            request, self._corrections = state["request_sha256"], str(state["corrections"])
            self._files = dict(state["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._unusable(_STATE) from error
        self._store.check_request(request)
        for name, file in self._files.items():
            self._copy(name, file)
        self._link_weights()
        self._saved = self._checkpoints()
        return self._corrections

    def begin(self, corrections: str) -> None:
        """Store which corrections the run is of, so that a repetition takes the same.

        Raises:
            ObjectStoreError: it cannot be written.
        """
        if self._corrections != corrections:
            self._corrections = corrections
            self._write({})

    def save(self) -> bool:
        """Store the run if it has a checkpoint that the snapshot lacks; whether it was stored.

        Raises:
            ObjectStoreError: it cannot be written; the snapshot before stays.
        """
        now = self._checkpoints()
        if now == self._saved:
            return False
        try:
            files = {name: self._put(name) for name in self._names()}
        except FileNotFoundError:  # the training has removed an old checkpoint meanwhile
            return False
        before = {file["key"] for file in self._files.values()}
        self._write(files)
        self._saved = now
        for key in before - {file["key"] for file in files.values()}:
            self._store.objects.delete(key)
        return True

    def remove(self) -> None:
        """Remove the snapshot: the run is done.

        Raises:
            ObjectStoreError: it cannot be removed.
        """
        objects, prefix = self._store.objects, self._store.prefix
        objects.delete(f"{prefix}/{_STATE}")
        for key in objects.listed(f"{prefix}/state/"):
            objects.delete(key)

    def _write(self, files: _Files) -> None:
        state = {
            "request_sha256": self._store.request_sha256,
            "corrections": self._corrections,
            "files": files,
        }
        data = (json.dumps(state, indent=1) + "\n").encode()
        self._store.objects.put(f"{self._store.prefix}/{_STATE}", data)
        self._files = files

    def _checkpoints(self) -> tuple[tuple[str, bool], ...]:
        """The complete checkpoints, and whether each was judged."""
        folder = self._run / _CHECKPOINTS
        return tuple(
            (path.name, (path / _PROOF).is_file()) for path in sorted(folder.glob("step-*"))
        )

    def _names(self) -> Iterator[str]:
        yield from (name for name in _RECORDS if (self._run / name).is_file())
        for checkpoint, _ in self._checkpoints():
            for path in sorted((self._run / _CHECKPOINTS / checkpoint).rglob("*")):
                name = path.relative_to(self._run)
                if path.is_file() and not any(p.startswith(DRAFT_PREFIX) for p in name.parts):
                    yield name.as_posix()

    def _put(self, name: str) -> dict[str, Any]:
        path = self._run / name
        status = path.stat()
        seen = (name, status.st_size, status.st_mtime_ns)
        if seen not in self._digests:
            data = path.read_bytes()
            key = content_key(f"{self._store.prefix}/state", data, path.suffix)
            if key not in {file["key"] for file in self._files.values()}:
                self._store.objects.put(key, data)
            digest = hashlib.sha256(data).hexdigest()
            self._digests[seen] = {"key": key, "sha256": digest, "bytes": len(data)}
        return self._digests[seen]

    def _copy(self, name: str, file: dict[str, Any]) -> None:
        path = self._run / name
        data = self._store.objects.get(str(file["key"]))
        is_inside = path.resolve().is_relative_to(self._run.resolve())
        if data is None or not is_inside or hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise self._unusable(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _link_weights(self) -> None:
        """The link to the best weights, which an object store does not keep."""
        best = self._run / "best.json"
        if best.is_file():
            checkpoint = json.loads(best.read_bytes())["checkpoint"]
            (self._run / _WEIGHTS).symlink_to(Path(_CHECKPOINTS) / checkpoint / _WEIGHTS)

    def _unusable(self, name: str) -> JobError:
        where = f"{self._store.objects.address}/{self._store.prefix}"
        return JobError(
            "damaged_state", f"the unfinished run in {where} cannot be used: {name}",
            f"submit it again, as another attempt may have ended meanwhile; else remove {where}, "
            "or choose another job_id",
        )  # fmt: skip
