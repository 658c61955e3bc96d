"""Lots with a known truth, and what a reviewer who knows it exports: pairs and a manifest.

They are what `lotline corrections export` writes, by the same code, but without a database.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import rasterio
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry

from detection.clip import LotLines
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid
from parcels.boundary import Boundary
from parcels.measure import area_m2
from pipeline.learning.coco_file import CocoObject, coco_document
from pipeline.learning.corrections_manifest import CorrectionsManifest, write_manifest
from pipeline.learning.export_files import ExportFiles, stored_bytes
from pipeline.learning.pair import Pair
from pipeline.learning.pair_builder import BuiltPair, PairSource, build_pairs, chips_of, view_of
from pipeline.learning.pair_images import mask_of_png, mask_png, pixels_of
from pipeline.learning.spatial_split import Split
from pipeline.store.objects.folder_or_bucket import ObjectStore
from pipeline.store.reads.fully_reviewed import AcceptedObject, ReviewedProperty

LABELS: Final = ("lawn", "tree", "roof", "driveway", "pool")
SEGMENTER: Final = "sam3-nano"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class KnownLot:
    """A lot as a reviewer leaves it who knows the truth.

    Attributes:
        block: what the bootstrap draws together; lots of one look alike.
        unsure: EPSG:4326, where nobody knows the truth; None if all is known.
    """

    reviewed: ReviewedProperty
    imagery: ImagerySource
    block: str
    unsure: BaseGeometry | None = None

    @property
    def name(self) -> str:
        """The name of the place, and the lot in it."""
        return f"{self.reviewed.county} {self.reviewed.property_id}"


def known_lot(
    name: tuple[str, str],
    number: int,
    outline: MultiPolygon,
    objects: Sequence[tuple[str, BaseGeometry]],
    imagery: ImagerySource,
    block: str,
    unsure: BaseGeometry | None = None,
) -> KnownLot:
    """A lot by its outline and its objects (label, polygon), EPSG:4326.

    Args:
        name: of the place, and of the lot in it.
        number: different for each lot of the place.
    """
    boundary = Boundary(outline, "lot", area_m2(outline), "parcel_id", name[0], (name[1],))
    accepted = tuple(
        AcceptedObject(number * 10_000 + place, label, 1, shape)
        for place, (label, shape) in enumerate(objects)
    )
    measured = tuple((label, f"{SEGMENTER}-1", None, None) for label in LABELS)
    reviewed = ReviewedProperty(
        number, name[0], name[1], boundary, number, "scripted reviewer", _NOW, LABELS, None,
        measured, False, accepted, (),
    )  # fmt: skip
    return KnownLot(reviewed, imagery, block, unsure)


def export_lots(
    objects: ObjectStore, lots: Mapping[Split, Sequence[KnownLot]]
) -> CorrectionsManifest:
    """Write the pairs of lots, and the manifest that names them.

    Raises:
        DetectionError: the imagery of a lot cannot be read.
        ObjectStoreError: a file cannot be written.
    """
    files = ExportFiles(objects)
    built: list[BuiltPair] = []
    for split, group in lots.items():
        for lot in group:
            built += [_placed(each, lot, split, files, objects) for each in _pairs(lot, files)]
    outlines: dict[str, Sequence[CocoObject]] = {each.pair.id: each.objects for each in built}
    pairs = [each.pair for each in built]
    coco = {}
    for split in lots:
        own = [pair for pair in pairs if pair.split == split]
        if own:
            coco[split] = files.store("coco", coco_document(own, outlines, LABELS), ".json")
    manifest = CorrectionsManifest(
        lotline="0", created_at=_NOW, block_m=1.0, validation=0.0, test=0.0, seed=0, coco=coco,
        pairs=tuple(pairs),
    )  # fmt: skip
    write_manifest(objects, manifest)
    return manifest


def _pairs(lot: KnownLot, files: ExportFiles) -> list[BuiltPair]:
    source = PairSource(lot.reviewed, view_of(lot.reviewed, None), LotLines())
    return build_pairs(source, chips_of(source, lot.imagery), files.store)


def _placed(
    built: BuiltPair, lot: KnownLot, split: Split, files: ExportFiles, objects: ObjectStore
) -> BuiltPair:
    """The pair in its split and block, without the ground of which the truth is unknown."""
    pair = built.pair.model_copy(update={"split": split, "block": lot.block})
    if lot.unsure is not None:
        known = mask_of_png(stored_bytes(objects, pair.lot)) & ~_unsure_pixels(pair, lot, objects)
        pair = pair.model_copy(update={"lot": files.store("masks", mask_png(known), ".png")})
    return BuiltPair(pair, built.objects)


def _unsure_pixels(pair: Pair, lot: KnownLot, objects: ObjectStore) -> np.ndarray[tuple[int, int]]:
    with rasterio.open(io.BytesIO(stored_bytes(objects, pair.chip))) as chip:
        grid = PixelGrid(chip.crs.to_wkt(), abs(chip.transform.a))
        transform = chip.transform
    on_grid = grid.from_lonlat(np.array([lot.unsure], dtype=object))
    return pixels_of(list(on_grid), (pair.height_px, pair.width_px), transform)
