"""A view of a labelled chip: the network's input, and the truth of its prompts on mask cells."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detection.training.sam3.augment import photometric
from detection.training.sam3_decoder.chips import ChipArrays, LabelledChip
from detection.training.sam3_decoder.poses import ViewPose

PADDING = "nothing"
"""The phrase of prompts that fill up a view; all their weights are 0."""
_GREY_DN = 127.5
# A cell is known if nearly all of it is judged ground.
_KNOWN_SHARE = 0.999
# Smaller parts of objects are too small to be found; ground with them is not negative either.
_LEAST_CELLS = 2.0
# A label is absent from a view if it is absent from this share of its imagery.
_WHOLE_VIEW = 0.9
# Of an object's cells, those with at least this share of it are kept out of negatives if it is not
# among the objects.
_TOUCHED = 0.02
# Objects of a prompt and view; the largest are kept.
_MOST_OBJECTS = 32


@dataclass(frozen=True, slots=True, eq=False)
class ViewTruth:
    """What P prompts should find in a view; tensors are uint8, shares x 255.

    Attributes:
        phrases: P; `PADDING` teaches nothing.
        semantic: (P, c, c): the share of each cell that is of the prompt's label.
        weight: (P, c, c): 1 where that is known.
        negatives: (P, c, c): 1 where a query that finds something is wrong.
        ground: (c, c): 1 where the masks of objects are known.
        present, present_weight, scored: (P,), as in `RowTargets`.
        rows: (k,) the prompt of each object.
        boxes: (k, 4) float32: centre and size, 0..1, of what is visible of it in the lot.
        masks: (k, c, c).
        window: (4,) float32: left, top, right, bottom of the judged ground in 0..1.
    """

    phrases: tuple[str, ...]
    semantic: Tensor
    weight: Tensor
    negatives: Tensor
    ground: Tensor
    present: Tensor
    present_weight: Tensor
    scored: Tensor
    rows: Tensor
    boxes: Tensor
    masks: Tensor
    window: Tensor

    def of_prompts(self, chosen: Sequence[int]) -> ViewTruth:
        """The truth of some of the prompts, given in ascending order, and of their objects."""
        places = torch.tensor(chosen, dtype=torch.long)
        number = {place: index for index, place in enumerate(chosen)}
        kept = torch.isin(self.rows.long(), places)
        rows = [number[place] for place in self.rows[kept].tolist()]
        by_prompt = ("semantic", "weight", "negatives", "present", "present_weight", "scored")
        return replace(
            self,
            phrases=tuple(self.phrases[place] for place in chosen),
            rows=torch.tensor(rows, dtype=torch.uint8),
            boxes=self.boxes[kept],
            masks=self.masks[kept],
            **{name: getattr(self, name)[places] for name in by_prompt},
        )


def view_pixels(chip: ChipArrays, pose: ViewPose, side_px: int, gsd_m: float) -> Tensor:
    """The network's input (3, side_px, side_px) in -1..1.

    Args:
        gsd_m: of the network's pixels.
    """
    shown = pose.cut(chip.lot if pose.alone else chip.valid)
    image = torch.from_numpy(pose.cut(chip.pixels)).float()
    image = torch.where(torch.from_numpy(shown), image, _GREY_DN)[None]
    if pose.side_px != side_px:
        size = (side_px, side_px)
        image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        image = image.round().clamp(0, 255)
    if pose.colours is None:
        return image[0] / 127.5 - 1
    outside = functional.interpolate(
        torch.from_numpy(~shown)[None, None].float(), (side_px, side_px), mode="nearest"
    )
    generator = torch.Generator().manual_seed(pose.colours)
    return photometric(torch.where(outside > 0, -1.0, image), gsd_m, generator)[0]


def view_truth(
    labelled: LabelledChip,
    chip: ChipArrays,
    pose: ViewPose,
    cells: int,
    prompts: int,
    words: Sequence[str],
) -> ViewTruth:
    """The truth of a view.

    The prompts are the labels that are known on the chip (those that are there first, as many as
    fit), and one word that names nothing.

    Args:
        cells: the side of a mask.
        prompts: their number, at least 2 if there are words.
        words: that name nothing in any chip; none leaves them out.
    """
    lot = pose.cut(chip.lot)
    known = (_shares(lot, cells) >= _KNOWN_SHARE) | pose.alone
    whole = pose.alone or lot.sum() >= _WHOLE_VIEW * max(1, pose.cut(chip.valid).sum())
    rows = _Rows(cells, prompts)
    names = [name for name, label in labelled.labels.items() if _teaches(labelled, chip, name)]
    names.sort(key=lambda name: (not chip.masks[name].any(), zlib.crc32(name.encode())))
    for name in names[: prompts - bool(words)]:
        label = labelled.labels[name]
        mask = pose.cut(chip.masks[name]) & lot
        objects = [pose.cut(each) & lot for each in chip.objects[name]]
        rows.add_label(label.prompt, mask, objects, known, label.exhaustive, whole)
    if words:
        chosen = zlib.crc32(f"{labelled.name} {pose}".encode()) % len(words)
        rows.add_absent(words[chosen])
    window = (0.0, 0.0, 1.0, 1.0) if pose.alone else _extent(lot)
    return rows.truth(known, window)


def _teaches(labelled: LabelledChip, chip: ChipArrays, name: str) -> bool:
    return labelled.labels[name].exhaustive or bool((chip.masks[name] & chip.lot).any())


class _Rows:
    """Collects the prompts of a view."""

    def __init__(self, cells: int, prompts: int) -> None:
        self._cells, self._prompts = cells, prompts
        self._phrases: list[str] = []
        shape = (prompts, cells, cells)
        self._semantic, self._weight, self._negatives = (np.zeros(shape, np.uint8) for _ in "abc")
        self._flags = np.zeros((3, prompts), np.uint8)
        self._objects: list[tuple[int, tuple[float, ...], NDArray[np.uint8]]] = []

    def add_label(
        self,
        phrase: str,
        mask: NDArray[np.bool_],
        objects: Sequence[NDArray[np.bool_]],
        known: NDArray[np.bool_],
        exhaustive: bool,
        whole: bool,
    ) -> None:
        row = len(self._phrases)
        share = _shares(mask, self._cells)
        self._semantic[row] = np.round(share * 255)
        # If other ground may have the label too, only the mask itself says something.
        self._weight[row] = known if exhaustive else known & (share >= _KNOWN_SHARE)
        kept = self._keep_objects(row, objects)
        unclear = share >= _TOUCHED
        for number in kept:
            unclear &= self._objects[number][2] < round(_TOUCHED * 255)
        self._negatives[row] = known & ~unclear if exhaustive else 0
        found = bool(kept) or float((share * (self._weight[row] > 0)).sum()) >= _LEAST_CELLS
        absent = exhaustive and whole and not mask.any()
        # As in SAM3's training, a prompt that is absent from the view trains presence only.
        self._flags[:, row] = found, found or absent, not absent
        self._phrases.append(phrase)

    def add_absent(self, phrase: str) -> None:
        row = len(self._phrases)
        self._weight[row] = 1
        self._flags[:, row] = 0, 1, 0
        self._phrases.append(phrase)

    def _keep_objects(self, row: int, objects: Sequence[NDArray[np.bool_]]) -> list[int]:
        """The numbers of the largest objects, which are large enough."""
        shares = [(_shares(each, self._cells), each) for each in objects if each.any()]
        large = [pair for pair in shares if pair[0].sum() >= _LEAST_CELLS]
        large.sort(key=lambda pair: -float(pair[0].sum()))
        first = len(self._objects)
        for share, each in large[:_MOST_OBJECTS]:
            left, top, right, bottom = _extent(each)
            box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            self._objects.append((row, box, np.round(share * 255).astype(np.uint8)))
        return list(range(first, len(self._objects)))

    def truth(self, known: NDArray[np.bool_], window: tuple[float, ...]) -> ViewTruth:
        padding = [PADDING] * (self._prompts - len(self._phrases))
        count, cells = len(self._objects), self._cells
        masks = np.zeros((count, cells, cells), np.uint8)
        for number, each in enumerate(self._objects):
            masks[number] = each[2]
        present, present_weight, scored = torch.from_numpy(self._flags)
        return ViewTruth(
            phrases=(*self._phrases, *padding),
            semantic=torch.from_numpy(self._semantic),
            weight=torch.from_numpy(self._weight),
            negatives=torch.from_numpy(self._negatives),
            ground=torch.from_numpy(known.astype(np.uint8)),
            present=present,
            present_weight=present_weight,
            scored=scored,
            rows=torch.tensor([each[0] for each in self._objects], dtype=torch.uint8),
            boxes=torch.tensor([each[1] for each in self._objects]).view(-1, 4),
            masks=torch.from_numpy(masks),
            window=torch.tensor(window, dtype=torch.float32),
        )


def _shares(plane: NDArray[np.bool_], cells: int) -> NDArray[np.float32]:
    """(cells, cells): the share of each cell that is inside, averaged over its area."""
    image = torch.from_numpy(plane)[None, None].float()
    shares: NDArray[np.float32] = functional.interpolate(image, (cells, cells), mode="area")[
        0, 0
    ].numpy()
    return shares


def _extent(inside: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in 0..1 of a mask; zeros if it is empty."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    height, width = inside.shape
    return (
        float(columns[0]) / width, float(rows[0]) / height,
        float(columns[-1] + 1) / width, float(rows[-1] + 1) / height,
    )  # fmt: skip
