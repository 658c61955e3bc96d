"""Tiles: imagery with the truth of each label, in memory or on a device, as integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.errors import TrainingError
from detection.training.held_out import HELD_OUT_PREFIXES
from detection.training.sam3.instances import connected_parts, split_parts
from detection.training.sam3.labels import (
    LABELS,
    OBJECT_LABELS,
    SPLIT_LABELS,
    TEACHER_PLANES,
    TRACED_CODES,
    UNSURE,
    WEIGHT_UNIT,
)

# A pixel that was traced by eye counts as several of the teacher's.
TRACED_WEIGHT = 3


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """n square tiles of one size and ground sample distance.

    Attributes:
        gsd_m: the size of a pixel in metres.
        pixels: (n, 3, side, side) uint8: red, green, blue.
        targets: (n, labels, side, side) uint8: the probability of each of `LABELS` x 255.
        weights: (n, labels, side, side) uint8, in `WEIGHT_UNIT`; 0 where the truth is unknown.
        objects: (n, object labels, side, side) int16: the number of the object of each of
            `OBJECT_LABELS`, from 1; 0 where there is none.
    """

    gsd_m: float
    pixels: Tensor
    targets: Tensor
    weights: Tensor
    objects: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side_m(self) -> float:
        """The side of a tile in metres."""
        return self.gsd_m * self.pixels.shape[-1]

    def to(self, device: torch.device) -> Tiles:
        """The same on a device."""
        moved = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if field.name != "gsd_m"
        }
        return Tiles(self.gsd_m, **moved)

    def select(self, rows: Sequence[int]) -> Tiles:
        """Some of the tiles."""
        index = torch.as_tensor(list(rows))
        parts = (self.pixels, self.targets, self.weights, self.objects)
        return Tiles(self.gsd_m, *(part[index] for part in parts))


def read_taught_tiles(
    path: Path, gsd_m: float, pool: Executor | None = None
) -> tuple[list[str], Tiles]:
    """The names and tiles of a file of the teacher's answers, without those of held-out cities.

    The file is an .npz with `names` (n,), `pixels` (n, 3, side, side) uint8, `probabilities`
    (n, 7, side, side) uint8 (x 255, the planes of `TEACHER_PLANES`) and, if anything was traced by
    eye, `traced` (n, side, side) uint8 with the codes of `TRACED_CODES`.

    Args:
        pool: to number objects on several cores.

    Raises:
        TrainingError: not such a file, or it has no tile to train on.
    """
    arrays = _read(path, {"names": 1, "pixels": 4, "probabilities": 4}, {"traced": 3})
    names = [str(name) for name in arrays["names"]]
    kept = [row for row, name in enumerate(names) if not name.startswith(HELD_OUT_PREFIXES)]
    if not kept:
        raise TrainingError(
            f"{path} has no tile outside {', '.join(HELD_OUT_PREFIXES)} to train on"
        )
    pixels, probabilities = arrays["pixels"][kept], arrays["probabilities"][kept]
    traced = arrays.get("traced")
    codes = np.full((len(kept), *pixels.shape[2:]), UNSURE, np.uint8)
    if traced is not None:
        codes[:] = traced[kept]
    return [names[row] for row in kept], taught_tiles(pixels, probabilities, codes, gsd_m, pool)


def taught_tiles(
    pixels: NDArray[np.uint8],
    probabilities: NDArray[np.uint8],
    traced: NDArray[np.uint8],
    gsd_m: float,
    pool: Executor | None = None,
) -> Tiles:
    """Tiles from the teacher's probabilities, overruled where somebody traced and was sure.

    Args:
        pixels: (n, 3, side, side).
        probabilities: (n, 7, side, side) x 255, the planes of `TEACHER_PLANES`.
        traced: (n, side, side) codes, `UNSURE` where nothing is known.
    """
    planes = [TEACHER_PLANES.index(label) for label in LABELS]
    targets = probabilities[:, planes].copy()
    weights = np.full_like(targets, WEIGHT_UNIT)
    sure = traced != UNSURE
    for label, code in TRACED_CODES.items():
        plane = LABELS.index(label)
        targets[:, plane][sure] = np.where(traced == code, 255, 0)[sure]
        weights[:, plane][sure] = TRACED_WEIGHT * WEIGHT_UNIT
    # Codes say nothing of shrubs and weeds, but every lawn and tree is vegetation.
    green = sure & np.isin(traced, (TRACED_CODES["lawn"], TRACED_CODES["tree"]))
    targets[:, LABELS.index("vegetation")][green] = 255
    return assemble_tiles(gsd_m, pixels, targets, weights, pool)


def assemble_tiles(
    gsd_m: float,
    pixels: NDArray[np.uint8],
    targets: NDArray[np.uint8],
    weights: NDArray[np.uint8],
    pool: Executor | None = None,
) -> Tiles:
    """Tiles with the objects found in their targets."""
    side = pixels.shape[-1]
    objects = np.zeros((len(pixels), len(OBJECT_LABELS), side, side), np.int16)
    for plane, label in enumerate(OBJECT_LABELS):
        inside = list(targets[:, LABELS.index(label)] > 127)
        number: Callable[..., NDArray[np.int16]] = (
            split_parts if label in SPLIT_LABELS else connected_parts
        )
        sizes = [gsd_m] * len(inside)
        found = (
            pool.map(number, inside, sizes, chunksize=16) if pool else map(number, inside, sizes)
        )
        for row, numbers in enumerate(found):
            objects[row, plane] = numbers
    arrays = (pixels, targets, weights, objects)
    return Tiles(gsd_m, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def write_taught_tiles(
    path: Path,
    names: Sequence[str],
    pixels: NDArray[np.uint8],
    probabilities: NDArray[np.uint8],
    traced: NDArray[np.uint8],
) -> None:
    """Write the file that `read_taught_tiles` reads; see there for the arrays."""
    named = np.array(names)
    np.savez(path, names=named, pixels=pixels, probabilities=probabilities, traced=traced)


def save_tiles(tiles: Tiles, path: Path) -> None:
    """Write tiles with an exact truth, compressed; the objects too."""
    arrays = {
        field.name: getattr(tiles, field.name).numpy()
        for field in fields(tiles)
        if field.name != "gsd_m"
    }
    np.savez_compressed(path, gsd_m=np.float64(tiles.gsd_m), **arrays)


def read_tiles(path: Path) -> Tiles:
    """The tiles of `save_tiles`.

    Raises:
        TrainingError: not such a file.
    """
    parts = {"pixels": 4, "targets": 4, "weights": 4, "objects": 4}
    arrays = _read(path, {"gsd_m": 0, **parts}, {})
    return Tiles(float(arrays["gsd_m"]), *(torch.from_numpy(arrays[name]) for name in parts))


def _read(path: Path, needed: dict[str, int], optional: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The arrays of a file, by name, with their numbers of dimensions checked."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in needed | optional}
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise TrainingError(
            f"{path} cannot be read as tiles ({error}). Pack the tiles again"
        ) from error
    for name, dimensions in (needed | optional).items():
        if name not in arrays:
            if name in needed:
                raise TrainingError(f"{path} has no array {name!r}. Pack the tiles again")
        elif arrays[name].ndim != dimensions:
            raise TrainingError(
                f"{path} has {name!r} with {arrays[name].ndim} dimensions instead of {dimensions}. "
                "Pack the tiles again"
            )
    return arrays
