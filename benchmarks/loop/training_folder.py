"""Corrected lots as the folder that a training of SAM3's decoder reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.loop.known_lots import KnownLot, export_lots
from detection.training.sam3_decoder.chips import CHIPS_FILE
from pipeline.learning.labelled_folder import write_labelled_folder
from pipeline.store.objects.folder_or_bucket import open_objects

_COMPLETE = "complete"


def write_training(
    folder: Path,
    train: Sequence[KnownLot],
    validation: Sequence[KnownLot] = (),
    *,
    positives_only: bool = False,
) -> Path:
    """Export lots, and write them as chips, unless it was done before; returns the chips' folder.

    Args:
        positives_only: forget what is known to be absent.

    Raises:
        DetectionError: the imagery of a lot cannot be read.
        PipelineError: a file cannot be written.
    """
    chips = folder / "corrections"
    if (folder / _COMPLETE).exists():
        return chips
    objects = open_objects(str(folder / "pairs"))
    manifest = export_lots(objects, {"train": train, "validation": validation})
    write_labelled_folder(objects, manifest, chips)
    if positives_only:
        keep_positives_only(chips)
    (folder / _COMPLETE).touch()
    return chips


def keep_positives_only(chips: Path) -> None:
    """Forget what is known to be absent, as a loop does that exports accepted objects alone."""
    path = chips / CHIPS_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    for chip in content["chips"]:
        if chip["split"] == "train":
            chip["labels"] = {
                name: {**label, "exhaustive": False}
                for name, label in chip["labels"].items()
                if label["objects"]
            }
    path.write_text(json.dumps(content), encoding="utf-8")
