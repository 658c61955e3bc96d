"""What a job leaves in the object store.

    jobs/ID/manifest.json      what came out, written last and once: then the job is done
    jobs/ID/ATTEMPT/…          its files; each attempt has a folder of its own
    jobs/ID/state.json, state/ an unfinished training, see `run_snapshot`

Two attempts of one job disturb each other in nothing: the manifest of the first that ends counts,
and names its own files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pipeline.errors import JobError
from pipeline.store.objects.folder_or_bucket import ObjectStore

_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"


class JobStore:
    """The objects of one job.

    Attributes:
        objects: the store of all jobs.
        job_id: of the job.
        prefix: of its keys.
        request_sha256: of what was asked for.
    """

    def __init__(self, objects: ObjectStore, job_id: str, request_sha256: str) -> None:
        self.objects, self.request_sha256 = objects, request_sha256
        self.prefix = f"jobs/{job_id}"
        self.job_id = job_id
        self._attempt = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"

    @property
    def manifest_address(self) -> str:
        """Where the manifest is, or will be."""
        return f"{self.objects.address}/{self.prefix}/{_MANIFEST}"

    @property
    def files_address(self) -> str:
        """Where the files of this attempt are."""
        return f"{self.objects.address}/{self.prefix}/{self._attempt}"

    def finished(self) -> dict[str, Any] | None:
        """The manifest of this job, if it is done.

        Raises:
            JobError: it is damaged, or another job was submitted under this id.
            ObjectStoreError: it cannot be read.
        """
        data = self.objects.get(f"{self.prefix}/{_MANIFEST}")
        return None if data is None else self._read(data)

    def put_file(self, name: str, path: Path) -> dict[str, Any]:
        """Store a file of this attempt; its entry in the manifest.

        Raises:
            ObjectStoreError, OSError: it cannot be stored.
        """
        data = path.read_bytes()
        key = f"{self.prefix}/{self._attempt}/{name}"
        self.objects.put(key, data)
        return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def finish(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest; returns it, or that of another attempt that ended before.

        Raises:
            JobError: as `finished`.
            ObjectStoreError: it cannot be written.
        """
        document = {
            "format": _FORMAT,
            "job_id": self.job_id,
            "request_sha256": self.request_sha256,
            "lotline": version("lotline"),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **content,
        }
        data = (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if self.objects.put_new(f"{self.prefix}/{_MANIFEST}", data):
            return document
        found = self.finished()
        if found is None:
            raise JobError(
                "job_removed", f"{self.manifest_address} was removed meanwhile",
                "submit the job again",
            )  # fmt: skip
        return found

    def check_request(self, sha256: object) -> None:
        """Check that what is stored is of the same request.

        Raises:
            JobError: it is of another one.
        """
        if sha256 != self.request_sha256:
            raise JobError(
                "job_id_taken", f"the job_id {self.job_id} was used for another request",
                "choose another job_id, or submit exactly what was submitted before",
            )  # fmt: skip

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(data)
            is_known = found["format"] == _FORMAT
        except (ValueError, KeyError, TypeError):
            is_known = False
        if not is_known:
            raise JobError(
                "damaged_manifest", f"{self.manifest_address} is not a manifest of this version",
                "remove it, or choose another job_id",
            )  # fmt: skip
        self.check_request(found.get("request_sha256"))
        return found
