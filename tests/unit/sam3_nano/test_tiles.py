"""Tiles from the teacher's answers and labels drawn by hand, and the objects in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from detection.errors import TrainingError
from detection.training.sam3.instances import connected_parts, split_parts
from detection.training.sam3.labels import LABELS, WEIGHT_UNIT
from detection.training.sam3.tiles import (
    TRACED_WEIGHT,
    Tiles,
    read_taught_tiles,
    read_tiles,
    save_tiles,
    taught_tiles,
    write_taught_tiles,
)

ARRAYS = {
    "pixels": np.zeros((3, 3, 32, 32), np.uint8),
    "probabilities": np.full((3, 7, 32, 32), 40, np.uint8),
    "traced": np.full((3, 32, 32), 255, np.uint8),
}


def test_what_was_traced_overrules_the_teacher() -> None:
    traced = ARRAYS["traced"].copy()
    traced[0, 4:12, 4:12] = 1  # lawn
    traced[0, 20:30, 20:30] = 0  # none of the labels
    tiles = taught_tiles(ARRAYS["pixels"], ARRAYS["probabilities"], traced, 0.6)
    lawn, roof, green = (LABELS.index(label) for label in ("lawn", "roof", "vegetation"))
    assert tiles.targets[0, :, 8, 8].tolist() == [255, 0, 255, 0, 0, 0]
    # Nobody traced vegetation: what is not lawn or tree may still be a shrub.
    assert tiles.targets[0, :, 25, 25].tolist() == [0, 0, 40, 0, 0, 0]
    assert tiles.targets[0, :, 16, 16].tolist() == [40] * 6
    assert int(tiles.weights[0, lawn, 8, 8]) == TRACED_WEIGHT * WEIGHT_UNIT
    assert int(tiles.weights[0, green, 8, 8]) == WEIGHT_UNIT
    assert int(tiles.weights[0, roof, 16, 16]) == WEIGHT_UNIT
    assert (tiles.objects[0, 0] > 0).sum() == 64


def test_a_file_of_taught_tiles_leaves_the_test_city_out(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    write_taught_tiles(path, ["chico_2020_1", "riverside_2018_4", "bishop_2020_2"], **ARRAYS)
    names, tiles = read_taught_tiles(path, 0.6)
    assert names == ["chico_2020_1", "bishop_2020_2"]
    assert len(tiles) == 2
    assert tiles.side_m == pytest.approx(19.2)
    only_test = {name: array[1:2] for name, array in ARRAYS.items()}
    write_taught_tiles(path, ["riverside_2018_4"], **only_test)
    with pytest.raises(TrainingError, match="no tile outside riverside to train on"):
        read_taught_tiles(path, 0.6)


def test_files_that_are_not_of_tiles(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    with pytest.raises(TrainingError, match=r"teacher.npz cannot be read as tiles"):
        read_taught_tiles(path, 0.6)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(TrainingError, match="Pack the tiles again"):
        read_taught_tiles(path, 0.6)
    np.savez(path, names=np.array(["a"]), pixels=ARRAYS["pixels"])
    with pytest.raises(TrainingError, match="has no array 'probabilities'"):
        read_taught_tiles(path, 0.6)
    np.savez(path, names=np.array(["a"]), pixels=ARRAYS["pixels"][0], probabilities=0)
    with pytest.raises(TrainingError, match="'pixels' with 3 dimensions instead of 4"):
        read_taught_tiles(path, 0.6)


def test_tiles_survive_a_file(tmp_path: Path, tiles: Tiles) -> None:
    save_tiles(tiles, tmp_path / "tiles.npz")
    again = read_tiles(tmp_path / "tiles.npz")
    assert again.gsd_m == tiles.gsd_m
    for name in ("pixels", "targets", "weights", "objects"):
        assert torch.equal(getattr(again, name), getattr(tiles, name)), name


def test_parts_are_numbered_and_specks_are_not() -> None:
    inside = np.zeros((40, 40), bool)
    inside[2:10, 2:10] = inside[20:30, 20:30] = True
    inside[35, 35] = True
    numbers = connected_parts(inside, 0.6)
    assert sorted(np.unique(numbers).tolist()) == [0, 1, 2]
    assert numbers[35, 35] == 0
    assert numbers[5, 5] != numbers[25, 25]


def test_two_houses_that_touch_are_two() -> None:
    inside = np.zeros((60, 60), bool)
    inside[5:25, 5:25] = inside[5:25, 27:47] = True
    inside[12:16, 25:27] = True  # a neck of 2.4 m
    inside[40:43, 5:50] = True  # a long roof, as thin as a neck
    assert connected_parts(inside, 0.6).max() == 2
    numbers = split_parts(inside, 0.6)
    assert numbers.max() == 3
    first, second = numbers[15, 15], numbers[15, 35]
    assert first != second
    assert ((numbers == first) == (inside & (np.arange(60) < 26))[:, :]).mean() > 0.95
    assert len(np.unique(numbers[41, 5:50])) == 1
    assert ((numbers > 0) == inside).all()


def test_a_part_beside_a_larger_one_keeps_its_own_number() -> None:
    """The nearest core of the thin part is the neighbour's, which is another part."""
    inside = np.zeros((40, 40), bool)
    inside[2:20, 2:20] = True
    inside[2:20, 22:25] = True
    numbers = split_parts(inside, 0.6)
    assert numbers[10, 10] != numbers[10, 23]
    assert numbers.max() == 2
