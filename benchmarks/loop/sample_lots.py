"""The lots of a sample county, with the exact truth of each."""

from __future__ import annotations

from pathlib import Path

import geopandas
import shapely

from benchmarks.loop.known_lots import LABELS, KnownLot, known_lot
from detection import sample
from detection.imagery import GeoTiffMosaic
from parcels.measure import polygonal
from pipeline.learning.spatial_split import block_of

_BLOCK_M = 60.0


def sample_lots(folder: Path, style: str, seed: int, lots: int) -> list[KnownLot]:
    """Generate a county, and read its lots.

    Raises:
        ValueError: no such style, or too few lots.
    """
    name = f"{style}-{seed}"
    made = sample.generate(folder / name, seed=seed, lots=lots, style=style)
    imagery = GeoTiffMosaic(made.imagery)
    parcels = geopandas.read_file(made.parcels)
    truth = geopandas.read_file(made.truth)
    by_parcel = dict(list(truth[truth.label.isin(LABELS)].groupby("parcel_id")))
    found = []
    for number, row in enumerate(parcels.itertuples(), start=1):
        own = by_parcel.get(row.parcel_id)
        objects = [
            (str(each.label), part)
            for each in (() if own is None else own.itertuples())
            for part in shapely.get_parts(each.geometry)
        ]
        outline = polygonal(row.geometry)
        block = f"{name} {block_of(outline, _BLOCK_M)}"
        found.append(
            known_lot((name, str(row.parcel_id)), number, outline, objects, imagery, block)
        )
    return found
