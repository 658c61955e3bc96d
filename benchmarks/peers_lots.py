"""Run by the peers' Python: samgeo's tiled path with prepared masks instead of its model.

Input: {"folder": …, "labels": [name, …], "side": cells of a mask's grid, "unique": bool}. The
folder has source.tif, lots.gpkg with a column "lot", and for each tile, in samgeo's order,
NUMBER.npz with fields named LABEL_NUMBER and the first row and column of each in LABEL_NUMBER_at.
Output: {"found": [[lot, label, WKB in hex], …], "seconds": {stage: …}, "grown_mb": …}.
"""

from __future__ import annotations

import io
import json
import sys
import time
import types
from contextlib import redirect_stdout
from importlib.metadata import distribution
from pathlib import Path

import geopandas
import numpy as np
import torch

# Its __init__ imports every model; only SAM3's module is needed. That module prints the missing
# models on stdout.
package = types.ModuleType("samgeo")
package.__path__ = [str(distribution("segment-geospatial").locate_file("samgeo"))]
sys.modules["samgeo"] = package
with redirect_stdout(io.StringIO()):
    from samgeo.samgeo3 import SamGeo3

# Its default is uint32, which its own raster_to_vector cannot read (rasterio's shapes refuses it).
DTYPE = "uint16"
# The logit where nothing is drawn.
OUTSIDE = -4.0


class Prepared(SamGeo3):
    """SamGeo3 with the masks of a tile from a file instead of the model."""

    def __init__(self, folder: Path, side: int) -> None:
        self.backend = "transformers"
        self.folder, self.side = folder, side
        self.start()

    def start(self) -> None:
        """Start before the first tile."""
        self.tile = 0
        self.model_s = 0.0

    def generate_masks(self, prompt: str, **_: object) -> None:
        """Load the masks of the next tile where the model would store them."""
        started = time.perf_counter()
        given = np.load(self.folder / f"{self.tile}.npz")
        names = [name for name in given if name.startswith(f"{prompt}_") and name[-3:] != "_at"]
        size = (self.image_height, self.image_width)
        self.masks = [self.drawn(given[name], given[f"{name}_at"], size) for name in names]
        self.boxes = self.scores = None
        self.tile += 1
        self.model_s += time.perf_counter() - started

    def drawn(self, field: np.ndarray, at: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Make masks from logits like transformers' `post_process_instance_segmentation`."""
        logits = torch.full((1, 1, self.side, self.side), OUTSIDE)
        row, column = (int(first) for first in at)
        height, width = field.shape
        logits[0, 0, row : row + height, column : column + width] = torch.from_numpy(field)
        shares = torch.nn.functional.interpolate(
            logits.sigmoid(), size=size, mode="bilinear", align_corners=False
        )
        return (shares[0, 0] > 0.5).long().numpy()


def status_mb(what: str) -> float:
    """Return VmRSS (resident memory) or VmHWM (its peak)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{what}:")[1].split()[0]) * 1024 / 1e6


def main() -> None:
    given = json.load(sys.stdin)
    folder = Path(given["folder"])
    lots = geopandas.read_file(folder / "lots.gpkg")
    model = Prepared(folder, given["side"])
    seconds = {"tiles": 0.0, "vectors": 0.0, "overlay": 0.0}
    found = []
    before_mb = status_mb("VmRSS")
    for label in given["labels"]:
        model.start()
        raster, vector = str(folder / f"{label}.tif"), str(folder / f"{label}.gpkg")
        started = time.perf_counter()
        model.generate_masks_tiled(
            str(folder / "source.tif"), label, raster,
            unique=given["unique"], dtype=DTYPE, verbose=False,
        )  # fmt: skip
        tiled = time.perf_counter()
        model.raster_to_vector(raster, vector)
        drawn = time.perf_counter()
        objects = geopandas.read_file(vector)
        on_lots = geopandas.overlay(objects, lots, how="intersection")
        on_lots["area_m2"] = on_lots.area
        done = time.perf_counter()
        seconds["tiles"] += tiled - started - model.model_s
        seconds["vectors"] += drawn - tiled
        seconds["overlay"] += done - drawn
        pieces = on_lots.explode()
        found += [
            [int(lot), label, wkb]
            for lot, wkb in zip(pieces["lot"], pieces.geometry.to_wkb(hex=True), strict=True)
        ]
    grown_mb = status_mb("VmHWM") - before_mb
    json.dump({"found": found, "seconds": seconds, "grown_mb": grown_mb}, sys.stdout)


main()
