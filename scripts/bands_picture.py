"""Draws docs/imagery_bands.png: fourth bands of a synthetic tile, and what each is taken for.

Usage: .venv/bin/python scripts/bands_picture.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from detection.imagery import GeoTiffMosaic

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "imagery_bands.png"
SIDE = 256
mpl.use("Agg")
sys.path.insert(0, str(ROOT / "tests"))  # the tests draw the same tiles

from landscapes import landscape  # noqa: E402
from rasters import write_tiff  # noqa: E402


def fourth_bands() -> dict[str, NDArray[np.float64]]:
    """Bands (height, width) by what they are."""
    red, green, blue, infrared = landscape(SIDE, SIDE).astype(float)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return {
        "near infrared": infrared,
        "a mask (0 and 255)": np.where(columns > 90, 255.0, 0.0),
        "luminance": 0.3 * red + 0.59 * green + 0.11 * blue,
        "a height": 110 + 60 * np.sin(rows / 40) + 40 * np.cos(columns / 30),
    }


def taken_for(folder: Path, band: NDArray[np.float64]) -> str:
    """What a mosaic decides about a tile with this fourth band."""
    pixels = landscape(SIDE, SIDE)
    pixels[3] = band.round().clip(0, 255)
    imagery = GeoTiffMosaic(str(write_tiff(folder / "a.tif", pixels)))
    return "near infrared" if "nir" in imagery.bands else "not near infrared"


def main() -> None:
    """Draw the picture."""
    colours = landscape(SIDE, SIDE)[:3].transpose(1, 2, 0)
    bands = fourth_bands()
    figure, axes = plt.subplots(1, 1 + len(bands), figsize=(11, 2.75), layout="constrained")
    axes[0].imshow(colours)
    axes[0].set_title("red, green, blue", fontsize=9)
    with tempfile.TemporaryDirectory() as folder:
        for axis, (name, band) in zip(axes[1:], bands.items(), strict=True):
            axis.imshow(band, cmap="gray", vmin=0, vmax=255)
            axis.set_title(f"band 4: {name}", fontsize=9)
            axis.set_xlabel(f"taken for: {taken_for(Path(folder), band)}", fontsize=9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(OUT, dpi=75)


if __name__ == "__main__":
    main()
