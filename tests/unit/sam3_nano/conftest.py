"""One thread; a small network's size, and tiles for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sam3_nano_tiles import class_map, painted_tiles

from detection.training.sam3.network import NanoSize
from detection.training.sam3.tiles import Tiles


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def size() -> NanoSize:
    return NanoSize(chip_px=112, width=32, vit_width=96, vit_layers=2, queries_per_side=4)


@pytest.fixture(scope="session")
def tiles() -> Tiles:
    return painted_tiles(np.stack([class_map(seed) for seed in range(3)]))
