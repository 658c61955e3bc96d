"""Pairs as a COCO file: an image for each pair, an annotation with a mask for each object.

Masks are run lengths (RLE), so that holes survive: https://github.com/cocodataset/cocoapi. The runs
are uncompressed, in column-major order, beginning with pixels outside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.learning.pair import Pair
from pipeline.learning.pair_images import BinaryMask


@dataclass(frozen=True, slots=True)
class CocoObject:
    """An object on a chip: `runs` of its mask, and `box_px` (left, top, width, height)."""

    detection: int
    label: str
    exhaustive: bool
    area_px: int
    box_px: tuple[int, int, int, int]
    runs: tuple[int, ...]


def coco_object(
    detection: int, label: str, mask: BinaryMask, *, exhaustive: bool
) -> CocoObject | None:
    """An object by its mask on a chip; None if no pixel of it is there."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    box = (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0]) + 1,
        int(rows[-1] - rows[0]) + 1,
    )
    runs = tuple(run_lengths(mask))
    return CocoObject(detection, label, exhaustive, int(mask.sum()), box, runs)


def run_lengths(mask: BinaryMask) -> list[int]:
    """The lengths of runs of False and True of a mask (height, width), in column-major order."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [len(flat)]])
    runs = np.diff(edges).tolist()
    return [0, *runs] if len(flat) and flat[0] else runs


def mask_of_runs(runs: Sequence[int], height: int, width: int) -> BinaryMask:
    """The mask (height, width) of `run_lengths`.

    Raises:
        ValueError: the runs are not as long as the mask.
    """
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def coco_document(
    pairs: Sequence[Pair], objects: Mapping[str, Sequence[CocoObject]], labels: Sequence[str]
) -> bytes:
    """The COCO file of pairs, whose objects are given by the pair's id.

    Args:
        labels: the categories, in order; their ids begin with 1.
    """
    category = {label: number for number, label in enumerate(labels, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs, start=1):
        images.append({
            "id": number, "pair": pair.id, "file_name": pair.chip.key,
            "width": pair.width_px, "height": pair.height_px, "gsd_m": pair.gsd_m,
            "lot": pair.lot.key,
            "exhaustive_labels": [n for n, each in pair.labels.items() if each.is_exhaustive],
        })  # fmt: skip
        for each in objects.get(pair.id, ()):
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "iscrowd": 0,
                "category_id": category[each.label], "detection": each.detection,
                "area": each.area_px, "bbox": list(each.box_px), "exhaustive": each.exhaustive,
                "segmentation": {
                    "size": [pair.height_px, pair.width_px], "counts": list(each.runs),
                },
            })  # fmt: skip
    document = {
        "info": {"description": "corrections of people, exported by Lotline"},
        "categories": [{"id": i, "name": label} for label, i in category.items()],
        "images": images,
        "annotations": annotations,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def objects_in(document: bytes) -> dict[str, list[CocoObject]]:
    """The objects of a COCO file that `coco_document` made, by the pair's id.

    Raises:
        ValueError, KeyError, TypeError: it is another file.
    """
    content = json.loads(document)
    pair_of = {image["id"]: str(image["pair"]) for image in content["images"]}
    name_of = {each["id"]: str(each["name"]) for each in content["categories"]}
    objects: dict[str, list[CocoObject]] = {pair: [] for pair in pair_of.values()}
    for each in content["annotations"]:
        left, top, width, height = map(int, each["bbox"])
        found = CocoObject(
            int(each["detection"]),
            name_of[each["category_id"]],
            bool(each["exhaustive"]),
            int(each["area"]),
            (left, top, width, height),
            tuple(map(int, each["segmentation"]["counts"])),
        )
        objects[pair_of[each["image_id"]]].append(found)
    return objects
