"""A folder, a file or a hub id -> a SAM3 network, strictly: all of its weights or an error.

    /models/sam3                     a folder of facebook/sam3's layout, or of `save_pretrained`
    /models/sam3/sam3.pt             Meta's own file
    /models/mine.safetensors         one file, full size unless a config.json lies beside it
    facebook/sam3                    a repository on the hub (gated: needs a token)
    /models/sam3:/models/lawns.safetensors    any of these, then a delta trained on it

A delta is a safetensors file with some of the tensors. Its metadata names the SHA-256 of the
base that it was trained on, and it fits no other.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import Sam3Config, Sam3Model
from transformers.initialization import no_init_weights

from detection.errors import SegmenterError
from detection.segmenters.sam3.exemplars import add_points
from detection.segmenters.sam3.keymap import State, check_fit, from_hub, from_meta, is_meta

BASE_KEY = "base_sha256"
_EMBEDDING = "text_encoder.text_model.embeddings.token_embedding"
# The ids of the words that a small network knows; see `_with_all_words`.
WORDS_KEY = f"{_EMBEDDING}.ids"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A network in float32 on the CPU, ready to use.

    Attributes:
        sha256: of the file; of the list of a folder's files and their hashes where it has
            several; of the delta where there is one, for it names its base.
    """

    model: Sam3Model
    sha256: str


def load_weights(source: str, sha256: str | None = None) -> Weights:
    """The network of a source, as the module's docstring writes them.

    Args:
        sha256: what the weights must be; None takes them as they are.

    Raises:
        SegmenterError: nothing there, no access, another network's weights, or other weights.
    """
    base, *deltas = [part for part in source.split(os.pathsep) if part]
    if len(deltas) > 1:
        raise SegmenterError(f"{source} names {len(deltas)} deltas: a base takes one")
    folder, files = _files(base)
    found_sha256 = _sha256_of(files)
    state = _read_all(files, base)
    config = _config(folder)
    if deltas:
        state, found_sha256 = _with_delta(state, Path(deltas[0]), found_sha256)
    if sha256 is not None and sha256 != found_sha256:
        raise SegmenterError(
            f"{source} has the SHA-256 {found_sha256}, and {sha256} was asked for: it is another "
            "version, or the download broke off"
        )
    return Weights(_build(config, state, source), found_sha256)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _files(source: str) -> tuple[Path, list[Path]]:
    """The folder where the configuration would be, and the files with the weights."""
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix not in (".pt", ".safetensors"):
            raise SegmenterError(f"{source} is no SAM3 weights: they are .safetensors or .pt")
        return path.parent, [path]
    if path.is_dir():
        return path, _in_folder(path)
    if _HUB_ID.fullmatch(source) and not source.startswith((".", "~")):
        folder = _download(source)
        return folder, _in_folder(folder)
    raise SegmenterError(
        f"there is nothing at {source}: SAM3_WEIGHTS is a folder, a file (.safetensors or "
        "sam3.pt) or a hub id such as facebook/sam3"
    )


def _in_folder(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(names)]
    else:
        files = [p for p in (folder / "model.safetensors", folder / "sam3.pt") if p.is_file()][:1]
    lacking = [file.name for file in files if not file.is_file()]
    if lacking or not files:
        what = ", ".join(lacking) or "model.safetensors or sam3.pt"
        raise SegmenterError(f"{folder} lacks {what}: it is not a whole copy of SAM3's weights")
    return files


def _download(repository: str) -> Path:
    """The local copy of a hub repository, fetched where it is not there yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
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
    except RepositoryNotFoundError as error:
        raise SegmenterError(
            f"the hub has no {repository}, or HF_TOKEN may not see it: SAM3's is facebook/sam3"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SegmenterError(
            f"{repository} cannot be fetched ({type(error).__name__}), and no copy of it is on "
            "this machine: try again, or copy the folder here and name it in SAM3_WEIGHTS"
        ) from error


def _sha256_of(files: list[Path]) -> str:
    hashes = [file_sha256(file) for file in files]
    if len(files) == 1:
        return hashes[0]
    listing = "".join(f"{sha}  {file.name}\n" for sha, file in zip(hashes, files, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()


def _read_all(files: list[Path], source: str) -> State:
    state: State = {}
    for file in files:
        state.update(_read_pickle(file) if file.suffix == ".pt" else _read_safetensors(file)[0])
    if is_meta(state):
        return from_meta(state)
    if not state:
        raise SegmenterError(f"{source} holds no tensors")
    return from_hub(state)


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """Tensors and metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, struct.error) as error:
        raise SegmenterError(
            f"{path} is not a whole safetensors file ({error}): fetch it again"
        ) from error


def _read_pickle(path: Path) -> State:
    """The tensors of Meta's file; whatever else a pickle might do is never done."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise SegmenterError(
            f"{path} is not opened: it is broken, or holds more than tensors, and then opening "
            "it would run its author's code. SAM3's weights hold tensors alone"
        ) from error
    for key in ("model", "state_dict"):  # what a training run saves has its weights under one
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise SegmenterError(f"{path} holds something other than named tensors: it is not SAM3's")
    return found


def _config(folder: Path) -> Sam3Config:
    """The configuration beside the weights; without one, as beside Meta's file, full size."""
    path = folder / "config.json"
    if not path.is_file():
        return Sam3Config()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # facebook/sam3 describes detector and tracker together.
        content = content.get("detector_config") or content
        if content.get("model_type") != "sam3":
            raise SegmenterError(
                f"{path} is of a {content.get('model_type')} model, and not of sam3"
            )
        return Sam3Config.from_dict(content)
    except (ValueError, TypeError) as error:
        raise SegmenterError(f"{path} is not a SAM3 configuration: {error}") from error


def _with_delta(base: State, path: Path, base_sha256: str) -> tuple[State, str]:
    if not path.is_file():
        raise SegmenterError(f"there is no delta at {path}")
    delta, metadata = _read_safetensors(path)
    trained_on = metadata.get(BASE_KEY)
    if trained_on is None:
        raise SegmenterError(f"{path} is no delta: its metadata lacks {BASE_KEY}")
    if trained_on != base_sha256:
        raise SegmenterError(
            f"the delta {path} was trained on weights {trained_on[:12]}, and these are "
            f"{base_sha256[:12]}: name the base that it was trained on"
        )
    delta = from_hub(delta)
    check_fit(delta, {name: t for name, t in base.items() if name in delta}, str(path))
    return base | delta, file_sha256(path)


def _build(config: Sam3Config, state: State, source: str) -> Sam3Model:
    with no_init_weights():
        model = Sam3Model(config)
        if any(".points_" in name for name in state):
            add_points(model)
    if WORDS_KEY in state:
        state = _with_all_words(state, model.vocab_size)
    check_fit(state, model.state_dict(), source)
    whole = {name: tensor.float() for name, tensor in state.items()}
    model.load_state_dict(whole, strict=True, assign=True)
    model.train(mode=False)
    model.requires_grad_(requires_grad=False)
    return model


def _with_all_words(state: State, words: int) -> State:
    """A whole table of words from that of a network which knows a few: (k + 1, channels).

    The last row is every other word's. The table of all words alone would be larger than all
    that a tiny network may be.
    """
    few, ids = state[f"{_EMBEDDING}.weight"], state[WORDS_KEY]
    table = few[-1].expand(words, -1).clone()
    table[ids] = few[:-1]
    others = {name: tensor for name, tensor in state.items() if name != WORDS_KEY}
    return others | {f"{_EMBEDDING}.weight": table}
