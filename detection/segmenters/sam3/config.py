"""The `config.json` beside SAM3's weights: read, and refused where no network can be as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import Sam3Config

from detection.errors import SegmenterError
from detection.segmenters.sam3.tokens import CONTEXT_LENGTH

# How many words CLIP's byte pair encoding has.
VOCABULARY_SIZE = 49408
# Attention over a whole chip takes memory with the fourth power of its side.
MAX_SIDE_PX = 4096
_LAYERS = ("num_layers", "num_hidden_layers", "num_upsampling_stages")
_SIZES = (
    *_LAYERS, "num_attention_heads", "num_queries", "num_channels", "hidden_size", "roi_size",
    "fpn_hidden_size", "intermediate_size", "image_size", "pretrain_image_size", "patch_size",
    "window_size", "projection_dim", "vocab_size", "max_position_embeddings",
)  # fmt: skip


def read_config(folder: Path, tensors: int) -> Sam3Config:
    """The configuration beside the weights; without one, as beside Meta's file, full size.

    Args:
        tensors: how many the weights have: no part of a network has more layers than that.

    Raises:
        SegmenterError: another model's, not a configuration, or sizes that no network can have.
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
            raise TypeError("a JSON object with its settings was looked for")
        if content.get("model_type") != "sam3":
            raise SegmenterError(
                f"{path} is of a {content.get('model_type')} model, and not of sam3"
            )
        config = Sam3Config.from_dict(content)
        wrong = _wrong_kind(config) or _wrong_size(config.to_dict(), tensors) or _wrong_side(config)
    except (
        OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError,
        ArithmeticError, StrictDataclassError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise SegmenterError(
            f"{path} is not a SAM3 configuration ({reason or type(error).__name__}): copy the one "
            "that belongs to the weights"
        ) from error
    if wrong:
        raise SegmenterError(
            f"{path} describes no network: {wrong}. Copy the one that belongs to the weights"
        )
    return config


def _wrong_kind(config: Sam3Config) -> str | None:
    """A part that is another model's: of those that it knows, transformers takes any."""
    vision: Any = config.vision_config
    text: Any = config.text_config
    for part, found, wanted in (
        ("vision_config", vision, "sam3_vision_model"),
        ("backbone_config", vision.backbone_config, "sam3_vit_model"),
        ("text_config", text, "clip_text_model"),
    ):
        if found.model_type != wanted:
            return f"its {part} is of a {found.model_type}, and SAM3's is a {wanted}"
    return None


def _wrong_size(settings: dict[str, Any], tensors: int) -> str | None:
    for name, value in settings.items():
        if isinstance(value, dict):
            inner = _wrong_size(value, tensors)
            if inner:
                return inner
        elif name in _SIZES:
            if not isinstance(value, int) or value < 1:
                return f"{name} is {value}, and a whole number of 1 or more is needed"
            if name in _LAYERS and value > tensors:
                return f"{name} is {value}, and the weights have {tensors} tensors in all"
    heads, width = settings.get("num_attention_heads"), settings.get("hidden_size")
    if heads and width and width % heads:
        return f"hidden_size {width} does not divide among {heads} attention heads"
    return None


def _wrong_side(config: Sam3Config) -> str | None:
    vision: Any = config.vision_config
    text: Any = config.text_config
    vit = vision.backbone_config
    if vit.image_size > MAX_SIDE_PX:
        return f"image_size is {vit.image_size}, and {MAX_SIDE_PX} is the most"
    if vit.image_size % vit.patch_size:
        return f"image_size {vit.image_size} is no multiple of patch_size {vit.patch_size}"
    if vit.window_size > vit.image_size // vit.patch_size:
        return f"window_size {vit.window_size} is wider than a chip of {vit.image_size} px"
    if text.vocab_size != VOCABULARY_SIZE:
        return f"vocab_size is {text.vocab_size}; CLIP's vocabulary has {VOCABULARY_SIZE} tokens"
    length = text.max_position_embeddings
    if length < CONTEXT_LENGTH:
        return f"max_position_embeddings is {length}; prompts have {CONTEXT_LENGTH} tokens"
    return None
