"""A folder, a file or a hub id -> the files that hold a SAM3 network's weights."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from detection.errors import SegmenterError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_SHARD = re.compile(r"[\w.-]+\.safetensors")


def find_weight_files(source: str) -> tuple[Path, list[Path]]:
    """The folder where the configuration would be, and the files with the weights.

    Raises:
        SegmenterError: nothing there, no access, or a copy that is not whole.
    """
    if not source:
        raise SegmenterError(
            "SAM3_WEIGHTS names no weights: it is a folder, a file (.safetensors or sam3.pt) or a "
            "hub id such as facebook/sam3"
        )
    path = local_path(source)
    if path.is_file():
        if path.suffix not in (".pt", ".safetensors"):
            raise SegmenterError(f"{source} is no SAM3 weights: they are .safetensors or .pt")
        return path.parent, [path]
    if path.is_dir():
        return path, _in_folder(path)
    if _is_hub_id(source):
        folder = _download(source)
        return folder, _in_folder(folder)
    raise SegmenterError(
        f"there is nothing at {source}: SAM3_WEIGHTS is a folder, a file (.safetensors or "
        "sam3.pt) or a hub id such as facebook/sam3"
    )


def check_source(source: str) -> None:
    """Find a wrong path before anything is loaded; the hub is not asked for an id of its own.

    Raises:
        SegmenterError: nothing there, or a copy that is not whole.
    """
    base, *deltas = source.split(os.pathsep)
    if local_path(base).exists() or not _is_hub_id(base):
        find_weight_files(base)
    for delta in deltas:
        if not local_path(delta).is_file():
            raise SegmenterError(f"there is no delta at {delta}: name a .safetensors file")


def _is_hub_id(source: str) -> bool:
    return _HUB_ID.fullmatch(source) is not None and not source.startswith((".", "~"))


def _in_folder(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in sorted(_shards(index))]
    else:
        files = [p for p in (folder / "model.safetensors", folder / "sam3.pt") if p.is_file()][:1]
    lacking = [file.name for file in files if not file.is_file()]
    if lacking or not files:
        what = ", ".join(lacking) or "model.safetensors or sam3.pt"
        raise SegmenterError(f"{folder} lacks {what}: it is not a whole copy of SAM3's weights")
    return files


def _shards(index: Path) -> set[str]:
    """The names of the files that hold a network together."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = set(places.values())
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise SegmenterError(
            f"{index} is not the list of a network's files ({type(error).__name__}): fetch it again"
        ) from error
    strange = [name for name in names if not (isinstance(name, str) and _SHARD.fullmatch(name))]
    if strange or not names:
        raise SegmenterError(
            f"{index} names {strange[0] if strange else 'no file'!r}, and .safetensors files "
            "beside it were looked for: fetch it again"
        )
    return names


def _download(repository: str) -> Path:
    """The local copy of a hub repository, fetched where it is not there yet."""
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
            f"the weights of {repository} are gated. Accept Meta's licence once on "
            f"https://huggingface.co/{repository}, make a token that may read it on "
            "https://huggingface.co/settings/tokens, and set HF_TOKEN to it (or run "
            "`hf auth login`). SEGMENTER=sam3-tiny needs none of this"
        ) from error
    except HFValidationError as error:
        raise SegmenterError(
            f"{repository} is neither a path here nor a name that the hub allows: SAM3's is "
            "facebook/sam3"
        ) from error
    except RepositoryNotFoundError as error:
        raise SegmenterError(
            f"the hub has no {repository}, or HF_TOKEN may not see it: SAM3's is facebook/sam3"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SegmenterError(
            f"{repository} cannot be fetched ({type(error).__name__}), and no copy of it is on "
            "this machine: try again, or copy the folder here and name it in SAM3_WEIGHTS"
        ) from error


def local_path(source: str) -> Path:
    """A path as it was written, `~` and all; there need be nothing at it.

    Raises:
        SegmenterError: no path could be written so.
    """
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # too long a name, or the home of nobody
        raise SegmenterError(
            f"{source[:80]} is no path on this machine ({error.args[-1]}): SAM3_WEIGHTS is a "
            "folder, a file or a hub id such as facebook/sam3"
        ) from error
    return path
