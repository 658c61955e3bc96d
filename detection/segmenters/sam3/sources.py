"""Resolves a folder, a file or a hub id to SAM3's weight files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from detection.errors import SegmenterError, WeightsMissing

DELTA_FILE = "delta.safetensors"
"""A delta in a folder, as a training writes it."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_SHARD = re.compile(r"[\w.-]+\.safetensors")


def find_weight_files(source: str) -> tuple[Path, list[Path]]:
    """(folder of the configuration, weight files) of a source.

    Raises:
        SegmenterError: it does not exist, access is denied, or the copy is incomplete.
    """
    if not source:
        raise WeightsMissing(
            "the source of the weights is empty: give a folder, a file (.safetensors or sam3.pt) "
            "or a hub id such as facebook/sam3"
        )
    path = local_path(source)
    if path.is_file():
        if path.suffix not in (".pt", ".safetensors"):
            raise SegmenterError(f"{source} is not a weight file: use .safetensors or .pt")
        return path.parent, [path]
    if path.is_dir():
        return path, _in_folder(path)
    if _is_hub_id(source):
        folder = _download(source)
        return folder, _in_folder(folder)
    raise SegmenterError(
        f"{source} does not exist. Weights are a folder, a file (.safetensors or sam3.pt) or a hub "
        "id such as facebook/sam3"
    )


def check_source(source: str) -> None:
    """Check a source's path before anything is loaded; a hub id is not requested.

    Raises:
        SegmenterError: it does not exist, or the copy is incomplete.
    """
    base, *deltas = source.split(os.pathsep)
    if local_path(base).exists() or not _is_hub_id(base):
        find_weight_files(base)
    for delta in deltas:
        if not delta_file(delta).is_file():
            raise SegmenterError(f"the delta {delta} does not exist. Name a .safetensors file")


def delta_file(source: str) -> Path:
    """The file of a delta, which may be named by its folder.

    Raises:
        SegmenterError: not a valid path.
    """
    path = local_path(source)
    return path / DELTA_FILE if path.is_dir() else path


def _is_hub_id(source: str) -> bool:
    return _HUB_ID.fullmatch(source) is not None and not source.startswith((".", "~"))


def _in_folder(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in sorted(_shards(index))]
    else:
        files = [p for p in (folder / "model.safetensors", folder / "sam3.pt") if p.is_file()][:1]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = ", ".join(missing) or "model.safetensors or sam3.pt"
        raise SegmenterError(
            f"{folder} is an incomplete copy of SAM3's weights: {what} is missing. Download it "
            "again"
        )
    return files


def _shards(index: Path) -> set[str]:
    """The names of the files that a network is split into."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = set(places.values())
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise SegmenterError(
            f"{index} is not a valid index of weight files ({type(error).__name__}). Download it "
            "again"
        ) from error
    invalid = [name for name in names if not (isinstance(name, str) and _SHARD.fullmatch(name))]
    if invalid or not names:
        raise SegmenterError(
            f"{index} names {invalid[0] if invalid else 'no file'!r} instead of .safetensors files "
            "in its folder. Download it again"
        )
    return names


def _download(repository: str) -> Path:
    """The local copy of a hub repository, downloaded if necessary."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
    except GatedRepoError as error:
        raise SegmenterError(
            f"the weights of {repository} are gated. Accept Meta's licence on "
            f"https://huggingface.co/{repository}, create a read token on "
            "https://huggingface.co/settings/tokens and set HF_TOKEN to it (or run "
            "`hf auth login`). The segmenter sam3-tiny needs no download"
        ) from error
    except HFValidationError as error:
        raise SegmenterError(
            f"{repository} is neither a local path nor a valid hub id. SAM3's id is facebook/sam3"
        ) from error
    except RepositoryNotFoundError as error:
        raise SegmenterError(
            f"the hub has no {repository}, or HF_TOKEN has no access to it. SAM3's id is "
            "facebook/sam3"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SegmenterError(
            f"{repository} cannot be downloaded ({type(error).__name__}), and there is no local "
            "copy. Try again, or copy the folder to this machine and give its path"
        ) from error


def local_path(source: str) -> Path:
    """The path of a text, with `~` expanded; it need not exist.

    Raises:
        SegmenterError: not a valid path.
    """
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long, or an unknown user's home
        raise SegmenterError(
            f"{source[:80]} is not a valid path ({error.args[-1]}). Weights are a folder, a file "
            "or a hub id such as facebook/sam3"
        ) from error
    return path
