"""Draws docs/imagery_fill.png: synthetic tiles, and what is taken for fill in each.

Usage: .venv/bin/python scripts/fill_picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.image import imsave
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy import ndimage

from detection.imagery.nodata import valid_pixels

SIDE, GAP = 240, 8
OUT = Path(__file__).parents[1] / "docs" / "imagery_fill.png"
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE]


def ground() -> NDArray[np.uint8]:
    """Lawns, roofs and streets of no real place."""
    rng = np.random.default_rng(3)
    waves = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 5)
    green = np.array([88, 112, 70])[:, None, None] + waves / waves.std() * 12
    street = ((COLUMNS + 30) % 120 < 18) | ((ROWS + 30) % 120 < 18)
    roof = ((COLUMNS % 60) > 22) & ((COLUMNS % 60) < 46) & ((ROWS % 60) > 24) & ((ROWS % 60) < 44)
    made = np.where(street, np.array([120, 118, 116])[:, None, None], green)
    made = np.where(roof & ~street, np.array([150, 118, 100])[:, None, None], made)
    return np.clip(made + rng.normal(0, 4, made.shape), 0, 255).astype(np.uint8)


def tiles() -> dict[str, NDArray[np.uint8]]:
    """The four tiles by name."""
    across = (COLUMNS - SIDE / 2) * np.cos(0.2) + (ROWS - SIDE / 2) * np.sin(0.2)
    down = (ROWS - SIDE / 2) * np.cos(0.2) - (COLUMNS - SIDE / 2) * np.sin(0.2)
    rotated, half, roof, snow = (ground() for _ in range(4))
    rotated[:, np.maximum(abs(across), abs(down)) > SIDE * 0.42] = 0
    half[:, ROWS + COLUMNS / 4 > 150] = 255
    roof[:, 90:135, :40] = 255
    bright = 330 - np.hypot(ROWS - 60, COLUMNS - 30) / 1.2
    noise = np.random.default_rng(1).normal(0, 2, snow.shape)
    snow = np.clip(np.maximum(snow * 0.3 + 150, bright + noise), 0, 255).astype(np.uint8)
    return {"rotated": rotated, "half": half, "roof": roof, "snow": snow}


def seen(folder: Path, name: str, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The tile as JPEG, above the same with fill in red."""
    path = folder / f"{name}.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8",
        crs="EPSG:32616", transform=from_origin(500_000, 3_880_000, 0.5, 0.5),
        compress="jpeg", photometric="YCBCR", jpeg_quality=60,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    with rasterio.open(path) as dataset:
        read = dataset.read()
        valid = valid_pixels(dataset, [1, 2, 3], read)
    marked = np.where(valid, read, np.array([200, 30, 30])[:, None, None]).astype(np.uint8)
    gap = np.full((3, GAP, SIDE), 255, np.uint8)
    return np.concatenate([read, gap, marked], axis=1)


def main() -> None:
    """Draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        columns = [seen(Path(folder), name, pixels) for name, pixels in tiles().items()]
    frame = [np.pad(c, ((0, 0), (GAP, GAP), (GAP, GAP)), constant_values=180) for c in columns]
    imsave(OUT, np.concatenate(frame, axis=2).transpose(1, 2, 0))


if __name__ == "__main__":
    main()
