"""A teacher's answers on all tiles: the mean of several landcover weights that see near infrared.

    python -m detection.training.landcover.teach DATA WEIGHTS [WEIGHTS ...]

reads DATA/pack.npz and writes DATA/teacher.npz, which landcover (`--set teacher=true`) and
sam3-nano are trained on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detection.segmenters.landcover.network import CLASSES, LandcoverNet, channels_last
from detection.segmenters.landcover.weights import load_landcover
from detection.training.held_out import HELD_OUT_PREFIXES
from detection.training.landcover.pack import read_pack
from detection.training.landcover.recipe import TILE_GSD_M
from detection.training.sam3.tiles import write_taught_tiles

_BATCH = 16


def teach(data: Path, folders: Sequence[Path], device: torch.device) -> int:
    """Write the teacher's answers; returns the number of tiles."""
    tiles = read_pack(data / "pack.npz")
    weights = [load_landcover(folder) for folder in folders]
    networks = [channels_last(each.network, device) for each in weights]
    sides = [round(tiles.pixels.shape[-1] * TILE_GSD_M / w.config.gsd_m / 32) * 32 for w in weights]
    answers = []
    for start in range(0, len(tiles.names), _BATCH):
        pixels = torch.from_numpy(tiles.pixels[start : start + _BATCH]).to(device).float()
        each = [
            _turned_mean(network, pixels / 127.5 - 1, side)
            for network, side in zip(networks, sides, strict=True)
        ]
        mean = (torch.stack(each).mean(0) * 255).round().to(torch.uint8)
        answers.append(mean.cpu().numpy())
    taught = np.concatenate(answers)
    path = data / "teacher.npz"
    traced = tiles.traced_or_carried(HELD_OUT_PREFIXES)
    write_taught_tiles(path, tiles.names, tiles.pixels[:, :3], taught, traced)
    return len(tiles.names)


@torch.inference_mode()
def _turned_mean(network: LandcoverNet, pixels: Tensor, side: int) -> Tensor:
    """Probabilities (n, 7, h, w) on the tiles' pixels: the mean of four turns, each mirrored."""
    size = pixels.shape[-2:]
    total = pixels.new_zeros(len(pixels), len(CLASSES) + 1, *size)
    for turn in range(4):
        for mirrored in (False, True):
            view = torch.rot90(pixels.flip(-1) if mirrored else pixels, turn, (-2, -1))
            fine = functional.interpolate(view, (side, side), mode="bilinear")
            with torch.autocast(pixels.device.type, torch.bfloat16):
                logits = network(fine.contiguous(memory_format=torch.channels_last))
            coarse = functional.interpolate(logits.float(), size, mode="area")
            found = torch.cat([coarse[:, : len(CLASSES)].softmax(1), coarse[:, -1:].sigmoid()], 1)
            found = torch.rot90(found, -turn, (-2, -1))
            total += found.flip(-1) if mirrored else found
    return total / 8


if __name__ == "__main__":
    where, *sources = map(Path, sys.argv[1:])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sys.stdout.write(f"{teach(where, sources, device)} tiles\n")
