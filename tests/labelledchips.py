"""Small painted lots as labelled chips, and a small SAM3 with random weights to start from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from safetensors.torch import save_file
from sam3nets import tiny_config
from transformers import Sam3Model

from pipeline.learning.coco_file import run_lengths
from pipeline.learning.pair_images import mask_png

SIDE, GSD_M = 128, 0.3
SMALL = {"chip_px": str(SIDE), "views": "2", "batch": "2", "words": "dog", "prompts": "3"}
"""Settings for these chips."""


def painted_lot(seed: int) -> tuple[NDArray[np.uint8], dict[str, list[NDArray[np.bool_]]]]:
    """(pixels (3, side, side), the objects of each label): two lawns and a roof, or no roof."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 130, (3, SIDE, SIDE)).astype(np.uint8)
    objects: dict[str, list[NDArray[np.bool_]]] = {"lawn": [], "roof": [], "pool": []}
    top, left = (int(value) for value in rng.integers(24, 36, 2))
    places = [("lawn", top, left, 20, 44), ("lawn", top + 40, left, 24, 30)]
    if seed % 2 == 0:
        places.append(("roof", top + 24, left + 34, 14, 20))
    for label, row, column, height, width in places:
        inside = np.zeros((SIDE, SIDE), bool)
        inside[row : row + height, column : column + width] = True
        colour = (40, 150, 50) if label == "lawn" else (190, 60, 50)
        pixels[:, inside] = np.array(colour, np.uint8)[:, None]
        objects[label].append(inside)
    return pixels, objects


def lot_of() -> NDArray[np.bool_]:
    """The ground that was judged: all but a margin."""
    lot = np.zeros((SIDE, SIDE), bool)
    lot[16:112, 16:112] = True
    return lot


def write_labelled_chips(
    folder: Path, seeds: Sequence[int], validation: Sequence[int] = (), exhaustive: bool = True
) -> None:
    """Write chips.json with its files: a chip for each seed."""
    chips: list[dict[str, Any]] = []
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    (folder / "masks" / "lot.png").write_bytes(mask_png(lot_of()))
    for seed in seeds:
        pixels, objects = painted_lot(seed)
        path = folder / "images" / f"{seed}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8",
            crs="EPSG:32611", transform=Affine(GSD_M, 0, 5e5, 0, -GSD_M, 4e6),
        ) as image:  # fmt: skip
            image.write(pixels)
        labels = {}
        for label, found in objects.items():
            mask = np.any([np.zeros((SIDE, SIDE), bool), *found], axis=0)
            name = f"masks/{seed}-{label}.png"
            (folder / name).write_bytes(mask_png(mask))
            labels[label] = {
                "prompt": label, "kind": "continuous" if label == "lawn" else "discrete",
                "mask": name, "exhaustive": exhaustive,
                "objects": [run_lengths(each) for each in found],
            }  # fmt: skip
        chips.append({
            "name": f"chip-{seed}", "image": f"images/{seed}.tif", "lot": "masks/lot.png",
            "split": "validation" if seed in validation else "train", "gsd_m": GSD_M,
            "labels": labels,
        })  # fmt: skip
    (folder / "chips.json").write_text(json.dumps({"format": 1, "chips": chips}))


def write_small_sam3(folder: Path, seed: int = 0) -> Path:
    """A random network of 112 px in the hub's layout, as weights to start from."""
    torch.manual_seed(seed)
    model = Sam3Model(tiny_config(depth=1)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(folder)
    return folder
