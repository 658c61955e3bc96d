"""Landcover's weights: a folder with model.safetensors (half precision) and config.json.

`config.json` has the SHA-256 of model.safetensors, so that files of two trainings cannot be mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from detection.errors import SegmenterError, WeightsMissing
from detection.segmenters.landcover.network import DECODER_CHANNELS, LandcoverNet
from detection.segmenters.landcover.weight_files import CONFIG_NAME, FOLDER_HAS, WEIGHTS_NAME

_FORMAT = "landcover-1"


@dataclass(frozen=True, slots=True)
class LandcoverConfig:
    """What must be known to use the weights.

    Attributes:
        gsd_m: of the network's input.
        temperature: logits are divided by it, so that a confidence of 0.8 is right 8 times in 10
            (Guo et al., 2017).
        decoder_channels: of the network.
        weights_sha256: of model.safetensors; "" in files that were written without it.
    """

    gsd_m: float
    temperature: float = 1.0
    decoder_channels: tuple[int, ...] = DECODER_CHANNELS
    weights_sha256: str = ""
    format: str = _FORMAT

    def __post_init__(self) -> None:
        if self.format != _FORMAT:
            raise ValueError(f"format {self.format!r} is not {_FORMAT!r}")
        if not (0.01 < self.gsd_m < 10 and 0.05 < self.temperature < 20):
            raise ValueError("gsd_m or temperature is out of range")


@dataclass(frozen=True, slots=True, eq=False)
class LandcoverWeights:
    """A network in evaluation mode, float32, with its configuration.

    `sha256` is of the weights' file.
    """

    network: LandcoverNet
    config: LandcoverConfig
    sha256: str


def shipped_weights() -> Path:
    """The folder of the weights that the package has."""
    return Path(str(files("detection.segmenters.landcover").joinpath("weights")))


def load_landcover(folder: Path | None = None) -> LandcoverWeights:
    """Load weights strictly; those of the package by default.

    Raises:
        SegmenterError: the files are missing or damaged, or do not fit the network.
    """
    folder = folder or shipped_weights()
    try:
        text = (folder / CONFIG_NAME).read_text(encoding="utf-8")
        content = (folder / WEIGHTS_NAME).read_bytes()
    except OSError as error:
        raise WeightsMissing(
            f"{error.filename} cannot be read ({error.strerror}). {FOLDER_HAS}"
        ) from error
    try:
        config = TypeAdapter(LandcoverConfig).validate_json(text)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise SegmenterError(
            f"{folder / CONFIG_NAME} is not landcover's configuration ({reason}). Copy the one "
            "that belongs to the weights"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        state = load(content)
    except SafetensorError as error:
        raise SegmenterError(
            f"{folder / WEIGHTS_NAME} is not a complete safetensors file ({error}). Copy it again"
        ) from error
    network = LandcoverNet(config.decoder_channels)
    _check(state, network.state_dict(), folder / WEIGHTS_NAME)
    if config.weights_sha256 not in {"", sha256}:
        raise SegmenterError(
            f"{folder / WEIGHTS_NAME} has the SHA-256 {sha256[:12]}, but {CONFIG_NAME} belongs to "
            f"{config.weights_sha256[:12]}. Copy both files of one training together"
        )
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    network.eval().requires_grad_(requires_grad=False)
    return LandcoverWeights(network, config, sha256)


def save_landcover(network: LandcoverNet, config: LandcoverConfig, folder: Path) -> None:
    """Write weights in half precision, and their configuration, into an existing folder."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path = folder / WEIGHTS_NAME
    save_file(state, path, {"format": "pt"})
    path.chmod(0o644)  # save_file makes it readable only by the owner
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps(asdict(replace(config, weights_sha256=sha256)), indent=2)
    (folder / CONFIG_NAME).write_text(f"{text}\n", encoding="utf-8")


def _check(state: dict[str, Tensor], wanted: Mapping[str, Any], path: Path) -> None:
    """Check names, shapes and values; the counters of batch norms may be missing.

    Raises:
        SegmenterError: with the first name that differs.
    """
    for name, tensor in wanted.items():
        if name not in state and name.endswith("num_batches_tracked"):
            state[name] = torch.zeros_like(tensor)
        if name not in state or state[name].shape != tensor.shape:
            found = tuple(state[name].shape) if name in state else "nothing"
            raise SegmenterError(
                f"{path} does not fit landcover: {name} should be {tuple(tensor.shape)}, but is "
                f"{found}. Copy config.json and model.safetensors together"
            )
        if not bool(state[name].isfinite().all()):
            raise SegmenterError(
                f"{path} has NaN or infinite values in {name}: training diverged, or the file is "
                "damaged. Use an earlier checkpoint"
            )
    if unknown := state.keys() - wanted.keys():
        raise SegmenterError(f"{path} does not fit landcover: it has {min(unknown)} besides")
