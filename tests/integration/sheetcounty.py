"""A county whose detections fill a contact sheet: squares of one label on green imagery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lots import load_properties, make_detection, make_result, start_run, write_lot
from rasterio.enums import ColorInterp
from rasters import LEFT, TOP, boundary, write_tiff
from reviewers import COUNTY, ground
from shapely import box

from pipeline.county_entry import find_county
from pipeline.store.counties import bind_county
from pipeline.store.database import Database

GREEN = (40, 120, 60)


def store_sheet(database: Database, folder: Path, lawns: Sequence[tuple[float, float]]) -> int:
    """Store a property with lawns, a tree, and a pool where there is no imagery.

    Lawns are (side in metres, score). The imagery is 80 m wide and high; the registry of its batch
    is in the folder. Returns the key of the property.
    """
    pixels = np.broadcast_to(np.array(GREEN, np.uint8)[:, None, None], (3, 160, 160))
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    write_tiff(folder / "here.tif", np.ascontiguousarray(pixels), colours=colours)
    registry = folder / "registry.yaml"
    registry.write_text(
        f"counties:\n  {COUNTY}:\n    path: {folder}/lots.gpkg\n"
        f"    imagery: {{path: {folder}/here.tif}}\n"
    )
    found = [
        make_detection(ground(2 + 12 * (i % 6), 2 + 12 * (i // 6), side, side), "lawn", score)
        for i, (side, score) in enumerate(lawns)
    ]
    tree = make_detection(ground(70, 70, 4, 4), "tree")
    beyond = make_detection(ground(500, 500, 5, 5), "pool")
    with database.engine.begin() as conn:
        [lot] = load_properties(conn, 1, COUNTY)
        lot_shape = box(LEFT, TOP - 80, LEFT + 80, TOP)
        write_lot(
            conn,
            start_run(conn, county=COUNTY),
            lot,
            boundary(lot_shape),
            make_result(*found, tree, beyond),
        )
        bind_county(conn, find_county(COUNTY, registry))
    return lot
