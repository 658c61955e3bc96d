"""Exported corrections of painted lots, without a database: what a training reads."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from affine import Affine
from pyproj import CRS
from sam3_nano_tiles import COLOURS, class_map

from detection.chip import Chip
from detection.evaluation.traced import CODES_OF
from pipeline.learning.corrections_manifest import CorrectionsManifest, write_manifest
from pipeline.learning.export_files import ExportFiles
from pipeline.learning.pair import LabelMask, Pair, SegmenterView
from pipeline.learning.pair_images import chip_tiff, mask_png
from pipeline.learning.spatial_split import Split
from pipeline.store.objects.folder_or_bucket import ObjectStore

_GSD_M = 0.5
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def write_corrections(objects: ObjectStore, side_px: int = 96) -> str:
    """Write two pairs to train on and one to judge by; the SHA-256 of their manifest."""
    splits: tuple[Split, ...] = ("train", "train", "validation")
    pairs = tuple(_pair(objects, split, seed, side_px) for seed, split in enumerate(splits))
    manifest = CorrectionsManifest(
        lotline="0", created_at=_NOW, block_m=250, validation=0.1, test=0.1, seed=0, coco={},
        pairs=pairs,
    )  # fmt: skip
    return write_manifest(objects, manifest)


def _pair(objects: ObjectStore, split: Split, seed: int, side_px: int) -> Pair:
    files = ExportFiles(objects)
    classes = class_map(seed, side_px)
    transform = Affine(_GSD_M, 0, 500_000 + 1_000 * seed, 0, -_GSD_M, 4_000_000)
    chip = Chip(
        np.ascontiguousarray(np.moveaxis(COLOURS[classes], -1, 0)),
        np.ones((side_px, side_px), bool), transform, CRS("EPSG:32611"), ("red", "green", "blue"),
    )  # fmt: skip
    lot = np.zeros((side_px, side_px), bool)
    lot[4:-4, 4:-4] = True
    masks = {label: classes == codes[0] for label, codes in CODES_OF.items() if len(codes) == 1}
    return Pair(
        id=f"{split}-{seed}", source_sha256=str(seed), county="here", property_id=f"p{seed}",
        split=split, block=f"{seed}/0", is_audited=False, exhaustive=True,
        width_px=side_px, height_px=side_px, gsd_m=_GSD_M, captured_on=None,
        chip=files.store("chips", chip_tiff(chip), ".tif"), chip_sha256=str(seed),
        lot=files.store("masks", mask_png(lot), ".png"), boundary={}, boundary_source="lot",
        boundary_version="v", parcel_ids=(),
        segmenter=SegmenterView(
            name="landcover", weights_sha256=None, chip_px=side_px, chip_gsd_m=None
        ),
        labels={
            label: LabelMask(
                mask=files.store("masks", mask_png(mask), ".png"), prompt=None, is_exhaustive=True,
                objects=1, area_px=int(mask.sum()),
            )
            for label, mask in masks.items()
        },
        reviewer="ann", reviewed_at=_NOW, events=(),
    )  # fmt: skip
