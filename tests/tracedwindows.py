"""A folder of traced windows over imagery that is painted by class (synthetic)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from affine import Affine
from PIL import Image
from rasters import CRS_NAME, LEFT, TOP, write_tiff
from sam3_nano_tiles import COLOURS, class_map

UNSURE = 255


def write_traced_windows(
    data: Path,
    names: Sequence[str],
    *,
    gsd_m: float = 0.6,
    bands: int = 4,
    side: int = 128,
    window: tuple[int, int, int, int] = (16, 16, 112, 112),
) -> None:
    """Write `data/traced` and `data/imagery`, with one window [x0, y0, x1, y1] in each image."""
    (data / "traced").mkdir(parents=True)
    (data / "imagery").mkdir()
    for seed, name in enumerate(names):
        classes = class_map(seed, side)
        colours = np.moveaxis(COLOURS[classes], -1, 0)
        infrared = np.where(np.isin(classes, (1, 2)), 240, 60).astype(np.uint8)
        pixels = np.concatenate([colours, infrared[None]])[:bands]
        write_tiff(
            data / "imagery" / f"{name}.tif", np.ascontiguousarray(pixels), crs=CRS_NAME,
            transform=Affine(gsd_m, 0, LEFT, 0, -gsd_m, TOP),
        )  # fmt: skip
        codes = np.full_like(classes, UNSURE)
        inside = (slice(window[1], window[3]), slice(window[0], window[2]))
        codes[inside] = classes[inside]
        Image.fromarray(codes).save(data / "traced" / f"{name}.png")
    listed = {name: [list(window)] for name in names}
    (data / "traced" / "windows.json").write_text(json.dumps(listed))
