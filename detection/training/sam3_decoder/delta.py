"""The trained tensors alone, as a safetensors file that names its base: a delta.

Half precision. The metadata has the SHA-256 of the base, the tier, the number of tensors and, once
judged, the metrics. Detection takes `BASE:DELTA` as weights (see `segmenters.sam3.weights`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from detection.errors import TrainingError
from detection.segmenters.sam3.sources import DELTA_FILE
from detection.segmenters.sam3.weights import (
    BASE_KEY,
    METRICS_KEY,
    TENSORS_KEY,
    TIER_KEY,
    file_sha256,
)
from detection.training.atomic import DRAFT_PREFIX
from detection.training.sam3_decoder.tiers import trained_names

FORMAT: Final = "lotline-sam3-delta-1"


def save_delta(
    parts: nn.Module,
    folder: Path,
    *,
    base_sha256: str,
    tier: str,
    before: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the delta of trained parts into a folder.

    Args:
        before: of a delta that the training went on from: what it changed stays changed.

    Raises:
        TrainingError: a weight does not fit half precision.
    """
    names = trained_names(parts)
    state = dict(before or {})
    for name, parameter in parts.named_parameters():
        if name in names:
            state[name] = parameter.detach()
    halves = {name: tensor.cpu().half().contiguous() for name, tensor in state.items()}
    for name, tensor in halves.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"{name} has values beyond half precision: the training diverges. Resume from an "
                "earlier checkpoint with a lower learning_rate"
            )
    _write(folder / DELTA_FILE, halves, {
        "format": FORMAT, BASE_KEY: base_sha256, TIER_KEY: tier, TENSORS_KEY: str(len(halves)),
    })  # fmt: skip


def add_metrics(folder: Path, metrics: Mapping[str, object]) -> str:
    """Put the metrics into a delta's metadata; returns its new SHA-256. No tensor changes."""
    path = folder / DELTA_FILE
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _write(path, tensors, metadata | {METRICS_KEY: json.dumps(dict(metrics), sort_keys=True)})
    return file_sha256(path)


def delta_metadata(path: Path) -> dict[str, str]:
    """The metadata of a delta."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def delta_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a delta."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    draft = path.with_name(f"{DRAFT_PREFIX}{path.name}")
    save_file(dict(tensors), draft, dict(metadata))
    draft.chmod(0o644)  # save_file makes it readable only by the owner
    draft.replace(path)
