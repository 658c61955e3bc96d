"""Loads a SAM3 network from a folder, a file or a hub id: all of its weights, or an error.

    /models/sam3                     a folder of facebook/sam3's layout, or of `save_pretrained`
    /models/sam3/sam3.pt             Meta's own file
    /models/mine.safetensors         one file; full size unless a config.json is beside it
    facebook/sam3                    a repository on the hub (gated: needs a token)
    /models/sam3:/models/lawns.safetensors    any of these, then a delta trained on it

A delta is a safetensors file with some of the tensors, or a folder with `delta.safetensors`, as
`lotline train sam3-decoder` writes it. Its metadata holds the SHA-256 of the base that it was
trained on; any other base is refused.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import Sam3Config, Sam3Model
from transformers.initialization import no_init_weights

from detection.errors import SegmenterError
from detection.segmenters.sam3.config import VOCABULARY_SIZE, read_config
from detection.segmenters.sam3.exemplars import add_points
from detection.segmenters.sam3.keymap import (
    StateDict,
    check_tensors,
    is_meta_layout,
    map_hub_names,
    map_meta_names,
)
from detection.segmenters.sam3.sources import delta_file, find_weight_files

# The metadata of a delta: its base, the tier, the number of its tensors, and how good it is.
BASE_KEY, TIER_KEY, TENSORS_KEY, METRICS_KEY = "base_sha256", "tier", "tensors", "metrics"
_EMBEDDING = "text_encoder.text_model.embeddings.token_embedding"
# The ids of the tokens that a small network knows; see `_expand_token_table`.
TOKEN_IDS_KEY = f"{_EMBEDDING}.ids"
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A network in float32 on the CPU, ready to use.

    Attributes:
        sha256: of the file; with several files, of the list of their hashes and names; with a
            delta, of the delta, which identifies its base.
    """

    model: Sam3Model
    sha256: str


def load_weights(source: str, sha256: str | None = None) -> Weights:
    """Load the network of a source; the module's docstring lists the forms.

    Args:
        sha256: the expected hash; None accepts any.

    Raises:
        SegmenterError: it does not exist, access is denied, or the weights do not fit.
    """
    base, *deltas = [part for part in source.split(os.pathsep) if part] or [""]
    if len(deltas) > 1:
        raise SegmenterError(f"{source} has {len(deltas)} deltas, but only one is allowed")
    folder, files = find_weight_files(base)
    found_sha256 = _sha256_of(files)
    state = _read_all(files, base)
    if deltas:
        state, found_sha256 = _with_delta(state, delta_file(deltas[0]), found_sha256)
    if sha256 is not None and sha256 != found_sha256:
        raise SegmenterError(
            f"{source} has the SHA-256 {found_sha256} instead of {sha256}: another version, or an "
            "incomplete download"
        )
    return Weights(_build(folder, state, source), found_sha256)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_sha256(base: str) -> str:
    """The SHA-256 of a base, as `Weights.sha256` has it, without loading it.

    Raises:
        SegmenterError: it does not exist, access is denied, or it cannot be read.
    """
    return _sha256_of(find_weight_files(base)[1])


def _sha256_of(files: list[Path]) -> str:
    try:
        hashes = [file_sha256(file) for file in files]
    except OSError as error:
        raise SegmenterError(f"{error.filename} cannot be read: {error.strerror}") from error
    if len(files) == 1:
        return hashes[0]
    listing = "".join(f"{sha}  {file.name}\n" for sha, file in zip(hashes, files, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()


def _read_all(files: list[Path], source: str) -> StateDict:
    state: StateDict = {}
    for file in files:
        state.update(_read_pickle(file) if file.suffix == ".pt" else _read_safetensors(file)[0])
    state = map_meta_names(state) if is_meta_layout(state) else map_hub_names(state)
    if not state:
        raise SegmenterError(f"{source} has no tensors of SAM3's detector. Download it again")
    _check_values(state, source)
    return state


def _read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors and metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, struct.error) as error:
        raise SegmenterError(
            f"{path} is not a complete safetensors file ({error}). Download it again"
        ) from error


def _read_pickle(path: Path) -> StateDict:
    """The tensors of Meta's file; `weights_only` never runs a pickle's code."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise SegmenterError(
            f"{path} was not opened: it is damaged, or has more than tensors, which could run "
            "code. SAM3's weights have tensors only"
        ) from error
    for key in ("model", "state_dict"):  # a training checkpoint nests its weights
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise SegmenterError(f"{path} is not a SAM3 checkpoint: not only named tensors")
    return found


def _check_values(state: StateDict, source: str) -> None:
    """Check that all weights are finite numbers.

    Raises:
        SegmenterError: a tensor of another type, or not finite as float32; it names the tensor.
    """
    for name, tensor in state.items():
        allowed = _INTEGERS if name == TOKEN_IDS_KEY else _FLOATS
        if tensor.dtype not in allowed or tensor.layout is not torch.strided or tensor.is_meta:
            kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
            raise SegmenterError(
                f"{source} has {name} as {str(tensor.dtype).removeprefix('torch.')}, but SAM3 "
                f"needs a dense tensor of {kinds}. Convert it with the tool that saved it"
            )
        # min and max propagate NaN, and need no memory for a copy.
        if tensor.numel() and not torch.stack(tensor.aminmax()).float().isfinite().all():
            raise SegmenterError(
                f"{source} has NaN or infinite values in {name}: training diverged, or the file is "
                "damaged. Use an earlier checkpoint"
            )


def _with_delta(base: StateDict, path: Path, base_sha256: str) -> tuple[StateDict, str]:
    if not path.is_file():
        raise SegmenterError(f"the delta {path} does not exist")
    delta, metadata = _read_safetensors(path)
    trained_on = metadata.get(BASE_KEY)
    if trained_on is None:
        raise SegmenterError(f"{path} is not a delta: its metadata has no {BASE_KEY}")
    if trained_on != base_sha256:
        raise SegmenterError(
            f"the delta {path} was trained on weights {trained_on}, but these are "
            f"{base_sha256}. Name the base that it was trained on"
        )
    if metadata.get(TENSORS_KEY, str(len(delta))) != str(len(delta)):
        raise SegmenterError(
            f"the delta {path} has {len(delta)} of {metadata[TENSORS_KEY]} tensors: it was changed "
            "after the training. Copy it again"
        )
    delta = map_hub_names(delta)
    _check_values(delta, str(path))
    check_tensors(delta, {name: t for name, t in base.items() if name in delta}, str(path))
    if all(torch.equal(tensor.float(), base[name].float()) for name, tensor in delta.items()):
        raise SegmenterError(
            f"the delta {path} changes nothing in the detector. Save the trained tensors, or name "
            "the base alone"
        )
    return base | delta, file_sha256(path)


def _build(folder: Path, state: StateDict, source: str) -> Sam3Model:
    config = read_config(folder, len(state))
    points = any(".points_" in name for name in state)
    try:
        # On the meta device: a misfit of any size is found before memory is allocated.
        outline = _empty(config, points, "meta")
    except (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError) as error:
        raise SegmenterError(
            f"{folder / 'config.json'} describes no valid network ({error}). Copy the one that "
            "belongs to the weights"
        ) from error
    wanted = outline.state_dict()
    if TOKEN_IDS_KEY in state:
        state = _expand_token_table(state, wanted[f"{_EMBEDDING}.weight"].shape[1], source)
    check_tensors(state, wanted, source)
    computed = sum(table.numel() for table in outline.buffers())
    if computed > sum(tensor.numel() for tensor in state.values()):
        raise SegmenterError(
            f"{folder / 'config.json'} describes no valid network: it has {computed} buffer "
            "values, more than weights. Copy the one that belongs to the weights"
        )
    model = _empty(config, points, "cpu")
    state = {name: tensor.float() for name, tensor in state.items()}
    model.load_state_dict(state, strict=True, assign=True)
    model.train(mode=False)
    model.requires_grad_(requires_grad=False)
    return model


def _empty(config: Sam3Config, points: bool, device: str) -> Sam3Model:
    """A network with uninitialised weights and correct buffers."""
    with no_init_weights(), torch.device(device):
        model = Sam3Model(config)
        if points:
            add_points(model)
    return model


def _expand_token_table(state: StateDict, channels: int, source: str) -> StateDict:
    """The full token embedding of a network that stores only k known tokens: (k + 1, channels).

    The last row stands for every other token. The full table alone would exceed the size limit
    of the tiny network.

    Raises:
        SegmenterError: duplicate or out-of-range ids, or a table of another shape.
    """
    few, ids = state.get(f"{_EMBEDDING}.weight"), state[TOKEN_IDS_KEY]
    if few is None or ids.ndim != 1 or few.shape != (len(ids) + 1, channels):
        raise SegmenterError(
            f"{source}: {TOKEN_IDS_KEY} has shape {tuple(ids.shape)}, but needs one id for each "
            f"row of {_EMBEDDING}.weight ({channels} channels) except the last. Save both together"
        )
    known = set(ids.tolist())
    if len(known) < len(ids) or not known <= set(range(VOCABULARY_SIZE)):
        raise SegmenterError(
            f"{source}: {TOKEN_IDS_KEY} must hold different numbers in 0..{VOCABULARY_SIZE - 1}. "
            "Save each token id once"
        )
    table = few[-1].expand(VOCABULARY_SIZE, -1).clone()
    table[ids.long()] = few[:-1]
    others = {name: tensor for name, tensor in state.items() if name != TOKEN_IDS_KEY}
    return others | {f"{_EMBEDDING}.weight": table}
