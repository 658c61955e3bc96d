"""Weights of sam3-nano as a folder that `load_weights` takes: half precision, known tokens only."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Sam3Model

from detection.segmenters.sam3.taught import TAUGHT_PHRASES_KEY
from detection.segmenters.sam3.weights import TOKEN_IDS_KEY
from detection.training.sam3.prompts import OTHER_TOKEN_ID, known_token_ids, taught_phrases

_EMBEDDING = TOKEN_IDS_KEY.removesuffix(".ids") + ".weight"


def save_nano(model: Sam3Model, folder: Path) -> None:
    """Write model.safetensors and config.json into a folder.

    The metadata of the weights holds the phrases that they were taught.
    """
    metadata = {"format": "pt", TAUGHT_PHRASES_KEY: json.dumps(taught_phrases())}
    weights = folder / "model.safetensors"
    save_file(nano_state(model), weights, metadata)
    weights.chmod(0o644)  # save_file makes it readable only by the owner
    model.config.save_pretrained(folder)


def nano_state(model: Sam3Model) -> dict[str, Tensor]:
    """The tensors to save: in half precision, word embeddings only of known tokens and one more."""
    tensors = model.state_dict()
    state = {name: tensor.detach().cpu().half().contiguous() for name, tensor in tensors.items()}
    ids = known_token_ids()
    table = state[_EMBEDDING]
    state[_EMBEDDING] = torch.cat([table[ids], table[OTHER_TOKEN_ID][None]])
    state[TOKEN_IDS_KEY] = ids.int()
    return state
