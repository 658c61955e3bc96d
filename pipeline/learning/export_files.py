"""The files of exports in an object store: written once, and swept where no manifest names them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.errors import ManifestError
from pipeline.learning.corrections_manifest import MANIFESTS, parse_manifest
from pipeline.learning.pair import StoredFile
from pipeline.store.objects.folder_or_bucket import ObjectStore, content_key, content_sha256

_FOLDERS: Final = ("chips", "masks", "coco")
# A file that is younger may be of an export that is running.
_SWEPT_AFTER: Final = timedelta(days=1)


def stored_bytes(objects: ObjectStore, file: StoredFile) -> bytes:
    """The bytes of a file that a manifest names.

    Raises:
        ManifestError: it is missing, or has another hash.
        ObjectStoreError: it cannot be read.
    """
    data = objects.get(file.key)
    if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
        problem = "is missing" if data is None else "is not what was exported (its hash differs)"
        raise ManifestError(
            f"{objects.address}/{file.key} {problem}: delete it if it is there, and export again "
            "into an empty folder"
        )
    return data


class ExportFiles:
    """Stores files by their content, each once."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._modified_at = {
            key: at for folder in _FOLDERS for key, at in objects.listed(f"{folder}/").items()
        }

    def store(self, folder: str, data: bytes, suffix: str) -> StoredFile:
        """Write a file, unless it is there.

        Raises:
            ObjectStoreError: it cannot be written.
        """
        key = content_key(folder, data, suffix)
        if key not in self._modified_at:
            self._objects.put(key, data)
            self._modified_at[key] = datetime.now(UTC)
        return StoredFile(key=key, sha256=content_sha256(key))

    def sweep(self) -> int:
        """Remove old files that no manifest names: exports left them that did not end.

        Raises:
            ObjectStoreError, ManifestError: the manifests cannot be read.
        """
        oldest = datetime.now(UTC) - _SWEPT_AFTER
        old = {key for key, at in self._modified_at.items() if at < oldest}
        if not old:
            return 0
        for key in self._objects.listed(MANIFESTS):
            data = self._objects.get(key)
            if data is None:
                continue
            manifest = parse_manifest(data, f"{self._objects.address}/{key}")
            old -= {file.key for pair in manifest.pairs for file in pair.files}
            old -= {file.key for file in manifest.coco.values()}
        for key in old:
            self._objects.delete(key)
        return len(old)
