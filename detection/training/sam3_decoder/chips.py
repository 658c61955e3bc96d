"""Labelled chips on the disk: imagery, the ground that was judged, and each label's objects there.

    chips.json      a list of chips: files, split and labels
    images/X.tif    red, green and blue, 8 bits; its mask says which pixels are valid
    masks/X.png     the lot: the pixels that somebody judged
    masks/Y.png     of a label

Objects are in chips.json as run lengths (COCO's, uncompressed, column by column), so that objects
that touch stay apart and holes survive.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from detection.errors import TrainingError
from detection.labels import LABELS, LabelKind

CHIPS_FILE: Final = "chips.json"
FORMAT: Final = 1
ChipSplit = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class ChipLabel:
    """What is known of a label on a chip.

    Attributes:
        prompt: the text prompt of the label.
        mask: its file, relative to the folder.
        exhaustive: whether ground of the lot outside the mask is known to have none of it.
        objects: the run lengths of each object's mask.
    """

    prompt: str
    kind: LabelKind
    mask: str
    exhaustive: bool
    objects: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LabelledChip:
    """A chip with its files; `read` loads them.

    Attributes:
        name: names it in messages, and draws its views.
        gsd_m: the side of a pixel in metres.
        sha256: of what chips.json says of it, which has the hashes of its files.
    """

    folder: Path
    name: str
    image: str
    lot: str
    split: ChipSplit
    gsd_m: float
    labels: Mapping[str, ChipLabel]
    sha256: str

    def read(self) -> ChipArrays:
        """
        Raises:
            TrainingError: a file is missing or damaged, or of another size.
        """
        pixels, valid = _read_image(self.folder / self.image)
        size = valid.shape
        lot = _read_mask(self.folder / self.lot, size)
        masks = {n: _read_mask(self.folder / each.mask, size) for n, each in self.labels.items()}
        objects = {
            name: [mask_of_runs(runs, size, self.name) for runs in each.objects]
            for name, each in self.labels.items()
        }
        return ChipArrays(pixels, valid, lot & valid, masks, objects)


@dataclass(frozen=True, slots=True, eq=False)
class ChipArrays:
    """A chip in memory; all masks are (height, width) bool.

    Attributes:
        pixels: (3, height, width) uint8: red, green, blue.
        valid: where there is imagery.
        lot: where somebody judged.
        masks: of each label, also outside of the lot.
        objects: of each label.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    lot: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]
    objects: Mapping[str, Sequence[NDArray[np.bool_]]]


def read_chips(folder: Path) -> list[LabelledChip]:
    """The chips of a folder, in the order of their names.

    Raises:
        TrainingError: there are none, or chips.json is damaged.
    """
    path = folder / CHIPS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise TrainingError(
                f"{path} has format {content['format']}, and this Lotline reads {FORMAT}: export "
                "the corrections again"
            )
        chips = [_chip(folder, each) for each in content["chips"]]
    except FileNotFoundError as error:
        raise TrainingError(
            f"{path} does not exist: `lotline train sam3-decoder --from ADDRESS` writes it from "
            "exported corrections into OUT/corrections"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is damaged ({type(error).__name__}: {error}): export the corrections again"
        ) from error
    if not chips:
        raise TrainingError(f"{path} has no chips: review lots in full, then export them")
    return sorted(chips, key=lambda chip: chip.name)


def _chip(folder: Path, content: Mapping[str, Any]) -> LabelledChip:
    labels = {
        str(name): ChipLabel(
            prompt=str(each["prompt"]),
            kind="continuous" if each["kind"] == "continuous" else "discrete",
            mask=str(each["mask"]),
            exhaustive=bool(each["exhaustive"]),
            objects=tuple(tuple(int(run) for run in runs) for runs in each["objects"]),
        )
        for name, each in content["labels"].items()
    }
    text = json.dumps(content, sort_keys=True)
    return LabelledChip(
        folder, str(content["name"]), str(content["image"]), str(content["lot"]),
        "validation" if content["split"] == "validation" else "train", float(content["gsd_m"]),
        labels, hashlib.sha256(text.encode()).hexdigest(),
    )  # fmt: skip


def default_kind(label: str) -> LabelKind:
    """The kind of a label: that of labels.yaml, else discrete."""
    return LABELS[label].kind if label in LABELS else "discrete"


def mask_of_runs(runs: Sequence[int], size: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """The mask (height, width) of run lengths of False and True, column by column.

    Raises:
        TrainingError: they are of another size.
    """
    height, width = size
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise TrainingError(
            f"{name} has an object of {sum(runs)} pixels on a chip of {width} x {height}: export "
            "the corrections again"
        )
    inside = np.zeros(len(runs), bool)
    inside[1::2] = True
    flat = np.repeat(inside, np.asarray(runs, np.int64))
    return np.ascontiguousarray(flat.reshape(width, height).T)


def _read_image(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    bands, valid = _read_bands(path)
    if bands.shape[0] < 3 or bands.dtype != np.uint8:
        raise TrainingError(
            f"{path} has {bands.shape[0]} bands of {bands.dtype}: SAM3 needs red, green and blue "
            "of 8 bits"
        )
    return bands[:3], valid


def _read_mask(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    bands, _ = _read_bands(path)
    if bands.shape[1:] != size:
        raise TrainingError(
            f"{path} has {bands.shape[2]} x {bands.shape[1]} pixels, and its chip {size[1]} x "
            f"{size[0]}: export the corrections again"
        )
    return np.asarray(bands[0] > 0, bool)


def _read_bands(path: Path) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                return dataset.read(), np.asarray(dataset.dataset_mask() > 0, bool)
    except RasterioError as error:
        raise TrainingError(f"{path} cannot be read ({error}): export again") from error
