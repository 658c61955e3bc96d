"""Which parts of SAM3 each tier trains, and how they are kept apart from the frozen rest."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Literal, TypeVar, get_args

from torch import nn
from transformers import Sam3Model

from detection.errors import TrainingError
from detection.training.task import ParameterGroup, decay_groups

M = TypeVar("M", bound=nn.Module)
Tier = Literal["mask", "heads", "deep", "full"]
TIERS: tuple[Tier, ...] = get_args(Tier)

_MASK = ("mask_decoder",)
_HEADS = (*_MASK, "dot_product_scoring", "detr_decoder")
_DEEP = (*_HEADS, "vision_encoder.neck", "detr_encoder", "geometry_encoder")
_PARTS: dict[Tier, tuple[str, ...]] = {
    "mask": _MASK, "heads": _HEADS, "deep": _DEEP,
    "full": (*_DEEP, "vision_encoder.backbone", "text_encoder", "text_projection"),
}  # fmt: skip
# No loss reaches these: the finest convolution and pyramid level, which nothing reads, and what
# encodes examples. The vocabulary stays as it is: most of its words occur in no training.
_UNUSED = re.compile(
    r"mask_decoder\.pixel_decoder\.(conv_layers|norms)\.2\.|"
    r"vision_encoder\.neck\.fpn_layers\.3\.|"
    r"geometry_encoder\.(boxes_|points_|label_embed|vision_layer_norm)|"
    r"text_encoder\..*token_embedding\."
)
_NO_DECAY = ("embed", "reference_points", "presence_token")
# Of SAM3's training: the rates of the image and the text encoder, as shares of the heads'.
_VISION_RATE, _TEXT_RATE, _LAYER_DECAY = 2.5e-5 / 8e-5, 5e-6 / 8e-5, 0.9
_LAYER = re.compile(r"vision_encoder\.backbone\.layers\.(\d+)\.")


def check_tier(name: str) -> Tier:
    """
    Raises:
        TrainingError: no such tier.
    """
    for tier in TIERS:
        if tier == name:
            return tier
    raise TrainingError(f"tier is {name!r}, but must be {', '.join(TIERS)}")


class TrainedParts(nn.Module):
    """The parts of a network that a tier trains, under their names in the network.

    It shares them with the network, so that training it trains the network, and `train()` leaves
    the dropout of the frozen parts off. A checkpoint has these only.
    """

    def __init__(self, model: Sam3Model, tier: Tier) -> None:
        super().__init__()
        for path in _PARTS[tier]:
            parent: nn.Module = self
            *above, name = path.split(".")
            for step in above:
                if step not in parent._modules:
                    parent.add_module(step, nn.Module())
                parent = parent.get_submodule(step)
            parent.add_module(name, model.get_submodule(path))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(_UNUSED.match(name) is None)


def trained_names(parts: nn.Module) -> set[str]:
    """The names of the parameters that training changes."""
    return {name for name, _ in parts.named_parameters() if _UNUSED.match(name) is None}


def with_parts(model: Sam3Model, parts: nn.Module) -> Sam3Model:
    """The network with other parts; the rest is shared with it, and it is not changed."""
    return _replaced(model, parts)


def _replaced(module: M, parts: nn.Module) -> M:
    own = copy.copy(module)
    own.__dict__["_modules"] = dict(module._modules)
    for name, part in parts.named_children():
        is_path = type(part) is nn.Module  # holds parts of a part
        own._modules[name] = _replaced(module.get_submodule(name), part) if is_path else part
    return own


def parameter_groups(parts: nn.Module, weight_decay: float) -> list[ParameterGroup]:
    """Heads at the full rate; encoders, in the tier `full`, slower, the first layers slowest."""
    by_rate: dict[float, list[tuple[str, nn.Parameter]]] = {}
    depth = 1 + max((number for number, _ in _layers(parts)), default=-1)
    for name, parameter in parts.named_parameters():
        by_rate.setdefault(_rate(name, depth), []).append((name, parameter))
    return [
        group
        for rate, named in sorted(by_rate.items())
        for group in decay_groups(named, weight_decay, rate, no_decay=_NO_DECAY)
    ]


def _layers(parts: nn.Module) -> Iterator[tuple[int, str]]:
    for name, _ in parts.named_parameters():
        if found := _LAYER.match(name):
            yield int(found[1]), name


def _rate(name: str, depth: int) -> float:
    if name.startswith(("text_encoder.", "text_projection.")):
        return _TEXT_RATE
    if not name.startswith("vision_encoder.backbone."):
        return 1.0
    found = _LAYER.match(name)
    # What is before the first layer is slower still.
    above = depth - 1 - int(found[1]) if found else depth
    return _VISION_RATE * _LAYER_DECAY**above
