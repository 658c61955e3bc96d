"""The files of registered weights: stored once by their hash, and fetched into a cache.

A file counts only if its bytes have the hash that was registered. A folder of the cache has its
name once it is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from detection.training.atomic import new_folder
from pipeline.errors import ModelError
from pipeline.store.models.versions import ModelFacts
from pipeline.store.objects.folder_or_bucket import open_objects

_FOLDER: Final = "models"
_LOCK: Final = ".lock"
# What a segmenter's folder of weights may have; anything else is not stored.
_SUFFIXES: Final = (".safetensors", ".json", ".txt")


def files_in(folder: Path, besides: Collection[str] = ()) -> dict[str, bytes]:
    """The files of a folder of weights.

    Args:
        besides: names that are not of the weights.

    Raises:
        ModelError: it has none, or one of a kind that weights do not have.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        paths = [path for path in paths if path.name not in besides]
        found = {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read ({error.strerror})") from error
    other = [name for name in found if not name.endswith(_SUFFIXES)]
    if other or not any(name.endswith(".safetensors") for name in found):
        problem = f"has {other[0]}" if other else "has no .safetensors file"
        raise ModelError(
            f"{folder} {problem}: give the folder of weights that `lotline train` wrote "
            "(OUT/weights)"
        )
    return found


def store_files(address: str, weights_sha256: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Store the files of weights; returns the SHA-256 of each.

    Raises:
        ObjectStoreError: they cannot be written.
    """
    objects = open_objects(address)
    for name, data in files.items():
        objects.put(f"{_FOLDER}/{weights_sha256}/{name}", data)
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def fetch_files(facts: ModelFacts, cache: Path) -> Path:
    """The folder of registered weights on this machine, fetched if it is not there.

    Raises:
        ModelError: a file is missing or damaged where they are stored.
        ObjectStoreError: they cannot be read.
    """
    folder = cache / facts.weights_sha256
    if _is_complete(folder, facts.files):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may read what this one would replace
        if not _is_complete(folder, facts.files):
            _fetch(facts, folder)
    return folder


def _fetch(facts: ModelFacts, folder: Path) -> None:
    objects = open_objects(facts.address)
    found: dict[str, bytes] = {}
    for name, digest in facts.files.items():
        key = f"{_FOLDER}/{facts.weights_sha256}/{name}"
        data = objects.get(key)
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            problem = "is missing" if data is None else "is not what was registered"
            raise ModelError(
                f"{objects.address}/{key} {problem}: restore the file, or go back with `lotline "
                f"models rollback {facts.segmenter}`"
            )
        found[name] = data
    with new_folder(folder) as draft:
        for name, data in found.items():
            (draft / name).write_bytes(data)


def _is_complete(folder: Path, files: Mapping[str, str]) -> bool:
    try:
        return all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            for name, digest in files.items()
        )
    except OSError:
        return False
