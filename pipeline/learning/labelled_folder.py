"""Exported pairs as labelled chips, the data of the training of SAM3's decoder.

Each label of a pair stays what it is: its objects, its prompt, and whether all of it is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.labels import LABELS
from detection.training.sam3_decoder.chips import CHIPS_FILE, FORMAT, default_kind
from pipeline.errors import ManifestError
from pipeline.learning.coco_file import CocoObject, objects_in
from pipeline.learning.corrections_manifest import CorrectionsManifest
from pipeline.learning.export_files import stored_bytes
from pipeline.learning.pair import LabelMask, Pair
from pipeline.learning.traced_folder import write_image
from pipeline.store.objects.folder_or_bucket import ObjectStore


def write_labelled_folder(
    objects: ObjectStore, manifest: CorrectionsManifest, folder: Path
) -> dict[str, int]:
    """Write the pairs of training and validation into a folder; the test's stay out.

    Returns:
        The number of chips by split.

    Raises:
        ManifestError: a file that the manifest names is missing or damaged, no pair is for
            training, or an image is not of 8 bits with red, green and blue.
    """
    counts = {"train": 0, "validation": 0}
    chips: list[dict[str, Any]] = []
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for split in counts:
        drawn = _objects(objects, manifest, split)
        for pair in manifest.pairs:
            if pair.split == split and pair.labels:
                chips.append(_chip(objects, pair, drawn.get(pair.id, ()), folder))
                counts[split] += 1
    if not counts["train"]:
        raise ManifestError(
            f"{objects.address} has no pair for training: review lots in more places, or export "
            "with smaller blocks (--block-m)"
        )
    text = json.dumps({"format": FORMAT, "chips": chips})
    (folder / CHIPS_FILE).write_text(text, encoding="utf-8")
    return counts


def _objects(
    objects: ObjectStore, manifest: CorrectionsManifest, split: str
) -> Mapping[str, Sequence[CocoObject]]:
    """The objects of a split's COCO file, by pair."""
    stored = {str(name): file for name, file in manifest.coco.items()}.get(split)
    if stored is None:
        if any(pair.split == split for pair in manifest.pairs):
            raise ManifestError(
                f"{objects.address} has no COCO file of {split}: export again into an empty folder"
            )
        return {}
    try:
        return objects_in(stored_bytes(objects, stored))
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{objects.address}/{stored.key} is not a COCO file of Lotline "
            f"({type(error).__name__}): export again into an empty folder"
        ) from error


def _chip(
    objects: ObjectStore, pair: Pair, drawn: Sequence[CocoObject], folder: Path
) -> dict[str, Any]:
    """What chips.json says of a pair, whose files are written."""
    image, lot = f"images/{pair.id}.tif", f"masks/{pair.id}-lot.png"
    write_image(folder / image, stored_bytes(objects, pair.chip), pair)
    (folder / lot).write_bytes(stored_bytes(objects, pair.lot))
    labels = {}
    for number, (name, label) in enumerate(sorted(pair.labels.items())):
        mask = f"masks/{pair.id}-{number}.png"  # a label's name may be no file name
        (folder / mask).write_bytes(stored_bytes(objects, label.mask))
        labels[name] = {
            "prompt": _prompt(name, label), "kind": default_kind(name), "mask": mask,
            "exhaustive": label.is_exhaustive,
            "objects": [each.runs for each in drawn if each.label == name],
        }  # fmt: skip
    return {
        "name": pair.id, "image": image, "lot": lot, "split": pair.split, "gsd_m": pair.gsd_m,
        "files": [file.sha256 for file in pair.files], "labels": labels,
    }  # fmt: skip


def _prompt(name: str, label: LabelMask) -> str:
    """The prompt that detected it; of segmenters without prompts, that of labels.yaml."""
    return label.prompt or (LABELS[name].prompt if name in LABELS else name)
