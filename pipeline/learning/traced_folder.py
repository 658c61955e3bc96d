"""Exported pairs as the data of a training of `landcover`: class codes on images.

The training's classes exclude each other, and masks of people may not: a pixel of two labels is
unsure. So is ground of a lot without an object, unless all labels were reviewed in full.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from detection.evaluation.traced import CODES_OF, OTHER, UNSURE
from pipeline.errors import ManifestError
from pipeline.learning.corrections_manifest import NEWEST, CorrectionsManifest, parse_manifest
from pipeline.learning.export_files import stored_bytes
from pipeline.learning.pair import Pair, StoredFile
from pipeline.learning.pair_images import BinaryMask, gray_png, mask_of_png
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects

VALIDATION: Final = "validation-"
"""How the names of the images begin that judge checkpoints."""

_TRAIN: Final = "train-"
# Vegetation is several classes.
_CODES: Final = {label: codes[0] for label, codes in CODES_OF.items() if len(codes) == 1}
_COLOURS: Final = ("red", "green", "blue")
_INFRARED: Final = "nir"


def open_manifest(address: str) -> tuple[ObjectStore, CorrectionsManifest]:
    """The manifest at an address that ends with .json, or the newest one below it.

    Raises:
        ManifestError: there is none, or it is damaged.
        ObjectStoreError: it cannot be read.
    """
    where, _, name = address.rpartition("/") if address.endswith(".json") else (address, "", NEWEST)
    if where.endswith("/manifests"):
        where, name = where.removesuffix("/manifests"), f"manifests/{name}"
    objects = open_objects(where or ".")
    data = objects.get(name)
    if data is None:
        raise ManifestError(
            f"{objects.address}/{name} does not exist: `lotline corrections export --to "
            f"{objects.address}` writes it"
        )
    return objects, parse_manifest(data, f"{objects.address}/{name}")


def write_traced_folder(
    objects: ObjectStore, manifest: CorrectionsManifest, folder: Path
) -> dict[str, int]:
    """Write the pairs of training and validation into a folder; the test's stay out.

    Returns:
        The number of images by split.

    Raises:
        ManifestError: a file that the manifest names is missing or damaged, no pair is for
            training, or an image is not of 8 bits with red, green and blue.
    """
    windows: dict[str, list[list[int]]] = {}
    counts = {"train": 0, "validation": 0}
    for sub in ("traced", "imagery"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for pair in manifest.pairs:
        if pair.split == "test":
            continue
        codes = _codes(objects, pair)
        if not (codes != UNSURE).any():
            continue
        name = f"{VALIDATION if pair.split == 'validation' else _TRAIN}{pair.id}"
        windows[name] = [_window(codes != UNSURE)]
        (folder / "traced" / f"{name}.png").write_bytes(gray_png(codes))
        write_image(folder / "imagery" / f"{name}.tif", stored_bytes(objects, pair.chip), pair)
        counts[pair.split] += 1
    if not counts["train"]:
        raise ManifestError(
            f"{objects.address} has no pair for training: review lots in more places, or export "
            "with smaller blocks (--block-m)"
        )
    text = json.dumps(windows, indent=1)
    (folder / "traced" / "windows.json").write_text(text, encoding="utf-8")
    return counts


def _codes(objects: ObjectStore, pair: Pair) -> NDArray[np.uint8]:
    """The class of each pixel of a pair's chip."""
    lot = _mask(objects, pair.lot)
    is_complete = all(
        label in pair.labels and pair.labels[label].is_exhaustive for label in _CODES
    )  # fmt: skip
    codes = np.full(lot.shape, OTHER if is_complete else UNSURE, np.uint8)
    times = np.zeros(lot.shape, np.uint8)
    for label, code in _CODES.items():
        if label in pair.labels:
            mask = _mask(objects, pair.labels[label].mask)
            codes[mask] = code
            times += mask
    codes[(times > 1) | ~lot] = UNSURE
    return codes


def _window(known: BinaryMask) -> list[int]:
    """[left, top, right, bottom] around what is known, right and bottom exclusive."""
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def write_image(path: Path, chip: bytes, pair: Pair) -> None:
    """Write the colours of a chip, and near infrared if it has that, in the order of a training.

    Raises:
        ManifestError: it is not of 8 bits with red, green and blue.
    """
    with rasterio.open(io.BytesIO(chip)) as dataset:
        names = list(dataset.descriptions)
        missing = [name for name in _COLOURS if name not in names]
        if missing or dataset.dtypes[0] != "uint8":
            raise ManifestError(
                f"the imagery of {pair.property_id} has {', '.join(map(str, names))} of "
                f"{dataset.dtypes[0]}: the training needs red, green and blue of 8 bits"
            )
        bands = [name for name in (*_COLOURS, _INFRARED) if name in names]
        profile: dict[str, Any] = {
            **dataset.profile, "count": len(bands), "photometric": "minisblack",
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as image:
            image.write(dataset.read([names.index(name) + 1 for name in bands]))
            image.descriptions = tuple(bands)
            image.write_mask(dataset.dataset_mask())


def _mask(objects: ObjectStore, file: StoredFile) -> BinaryMask:
    return mask_of_png(stored_bytes(objects, file))
