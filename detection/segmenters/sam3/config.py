"""Reads and validates the `config.json` beside SAM3's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import Sam3Config

from detection.errors import SegmenterError
from detection.segmenters.sam3.tokens import CONTEXT_LENGTH

# The number of tokens of CLIP's byte pair encoding.
VOCABULARY_SIZE = 49408
# The memory of global attention grows with the fourth power of the side.
MAX_SIDE_PX = 4096
_LAYERS = ("num_layers", "num_hidden_layers", "num_upsampling_stages")
_SIZES = (
    *_LAYERS, "num_attention_heads", "num_queries", "num_channels", "hidden_size", "roi_size",
    "fpn_hidden_size", "intermediate_size", "image_size", "pretrain_image_size", "patch_size",
    "window_size", "projection_dim", "vocab_size", "max_position_embeddings",
)  # fmt: skip


def read_config(folder: Path, tensors: int) -> Sam3Config:
    """The configuration beside the weights; without one (as with Meta's file) the full size.

    Args:
        tensors: the number of weight tensors, an upper bound for layers.

    Raises:
        SegmenterError: another model's, not a configuration, or impossible sizes.
    """
    path = folder / "config.json"
    if not path.is_file():
        return Sam3Config()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # facebook/sam3 describes detector and tracker together.
        if isinstance(content, dict):
            content = content.get("detector_config") or content
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if content.get("model_type") != "sam3":
            raise SegmenterError(
                f"{path} describes a {content.get('model_type')} model instead of sam3"
            )
        config = Sam3Config.from_dict(content)
        wrong = _wrong_kind(config) or _wrong_size(config.to_dict(), tensors) or _wrong_side(config)
    except (
        OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError,
        ArithmeticError, StrictDataclassError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise SegmenterError(
            f"{path} is not a SAM3 configuration ({reason or type(error).__name__}). Copy the one "
            "that belongs to the weights"
        ) from error
    if wrong:
        raise SegmenterError(
            f"{path} describes no valid network: {wrong}. Copy the one that belongs to the weights"
        )
    return config


def _wrong_kind(config: Sam3Config) -> str | None:
    """Find a part of another model; transformers accepts any model that it knows."""
    vision: Any = config.vision_config
    text: Any = config.text_config
    for part, found, wanted in (
        ("vision_config", vision, "sam3_vision_model"),
        ("backbone_config", vision.backbone_config, "sam3_vit_model"),
        ("text_config", text, "clip_text_model"),
    ):
        if found.model_type != wanted:
            return f"its {part} is a {found.model_type} instead of a {wanted}"
    return None


def _wrong_size(settings: dict[str, Any], tensors: int) -> str | None:
    for name, value in settings.items():
        if isinstance(value, dict):
            inner = _wrong_size(value, tensors)
            if inner:
                return inner
        elif name in _SIZES:
            if not isinstance(value, int) or value < 1:
                return f"{name} is {value}, but must be an integer of at least 1"
            if name in _LAYERS and value > tensors:
                return f"{name} is {value}, but the weights have only {tensors} tensors"
    heads, width = settings.get("num_attention_heads"), settings.get("hidden_size")
    if heads and width and width % heads:
        return f"hidden_size {width} is not divisible by {heads} attention heads"
    return None


def _wrong_side(config: Sam3Config) -> str | None:
    vision: Any = config.vision_config
    text: Any = config.text_config
    vit = vision.backbone_config
    if vit.image_size > MAX_SIDE_PX:
        return f"image_size is {vit.image_size}, but at most {MAX_SIDE_PX} is allowed"
    if vit.image_size % vit.patch_size:
        return f"image_size {vit.image_size} is not a multiple of patch_size {vit.patch_size}"
    if vit.window_size > vit.image_size // vit.patch_size:
        return f"window_size {vit.window_size} is wider than a chip of {vit.image_size} px"
    if text.vocab_size != VOCABULARY_SIZE:
        return f"vocab_size is {text.vocab_size}; CLIP's vocabulary has {VOCABULARY_SIZE} tokens"
    length = text.max_position_embeddings
    if length < CONTEXT_LENGTH:
        return f"max_position_embeddings is {length}; prompts have {CONTEXT_LENGTH} tokens"
    return None
