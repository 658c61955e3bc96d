"""The recipe of sam3-nano: its data, settings, task and export, for the trainer.

The folder of data has `teacher.npz` (see `tiles.read_taught_tiles`) and `synthetic.npz`, which is
rendered when it is missing.
"""

from __future__ import annotations

import copy
import hashlib
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn
from transformers import Sam3Model

from detection.errors import TrainingError
from detection.segmenters.interface import Segmenter
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.weights import Weights, file_sha256, load_weights
from detection.training.recipes import RecipeRequest, Training
from detection.training.sam3.export import save_nano
from detection.training.sam3.judge import JudgedChips, judge, judged_chips
from detection.training.sam3.network import NANO, NanoSize, nano_network
from detection.training.sam3.task import NanoSettings, NanoTask
from detection.training.sam3.tiles import Tiles, read_taught_tiles, read_tiles, save_tiles
from detection.training.settings import TrainingSettings, changed
from detection.training.task import Judgement, Probe

TEACHER_FILE, SYNTHETIC_FILE = "teacher.npz", "synthetic.npz"
# Of NAIP.
_TILE_GSD_M = 0.6
# The scenes of synthetic.npz: seeds that neither the sample county nor its tests have.
_SCENE_SEEDS, _SCENE_LOTS = range(301, 309), 100
# Of the places, one in so many is left out of the training, to choose between checkpoints by it.
_JUDGED_SHARE = 20
_MAX_JUDGED = 24
_PROBED = 4
# About eight minutes on one H200. A batch of 64 and an average over the last thousand steps.
DEFAULTS = TrainingSettings(
    steps=None, seconds=450.0, learning_rate=8e-4, warm_up=0.04, ema_decay=0.999,
    checkpoint_every=2000, read_every=50,
)  # fmt: skip


def build(request: RecipeRequest) -> Training:
    """Load the tiles and build the network.

    Raises:
        TrainingError: data that are missing or wrong, or a setting that is.
    """
    settings = changed(NanoSettings(), request.overrides)
    folder = _data_folder(request.data)
    device = torch.device(request.device)
    if device.type == "cuda":
        # Prompts, decoder and boxes stay float32; their products need no more than TF32.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        names, tiles = read_taught_tiles(folder / TEACHER_FILE, _TILE_GSD_M, pool)
    trained, judged = split_places(names)
    synthetic = _synthetic_tiles(folder) if settings.synthetic_share else None
    network = nano_network(request.seed)
    nn.Module.to(network, device)
    task = NanoTask(
        network,
        tiles.select(trained).to(device),
        synthetic.to(device) if synthetic is not None else None,
        settings,
        request.seed,
        data_sha256=_data_sha256(folder, settings),
    )
    export = (
        NanoExport(judged_chips(tiles.select(judged), NANO), device) if request.judged else None
    )
    return Training(task, DEFAULTS, export, asdict(settings))


class NanoExport:
    """How a network of sam3-nano becomes weights, and how good those are."""

    def __init__(self, judged: JudgedChips, device: torch.device, size: NanoSize = NANO) -> None:
        self._judged, self._device, self._size = judged, device, size

    @property
    def probe(self) -> Probe:
        """What the loaded weights must answer as the network does."""
        return Probe(self._judged.chips[:_PROBED], self._judged.labels)

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the weights into an empty folder."""
        save_nano(_sam3(network), folder)

    def load(self, folder: Path) -> Segmenter:
        """The segmenter of exported weights."""
        return self._segmenter(load_weights(str(folder)))

    def wrap(self, network: nn.Module) -> Segmenter:
        """The segmenter of a network, without files."""
        own = copy.deepcopy(_sam3(network))
        own.train(mode=False)
        own.requires_grad_(requires_grad=False)
        return self._segmenter(Weights(own, ""))

    def judge(self, segmenter: Segmenter) -> Judgement:
        """See `judge.judge`."""
        return judge(segmenter, self._judged)

    def _segmenter(self, weights: Weights) -> Sam3:
        device, chip_px = str(self._device), self._size.chip_px
        # Not compiled: that takes longer than judging.
        return Sam3(weights, "sam3-nano", device, precision="float32", fast=False, chip_px=chip_px)


def _sam3(network: nn.Module) -> Sam3Model:
    if not isinstance(network, Sam3Model):
        raise TypeError(f"a network of sam3-nano is a Sam3Model, not a {type(network).__name__}")
    return network


def split_places(names: Sequence[str]) -> tuple[list[int], list[int]]:
    """(rows to train on, rows to judge by) of tiles named PLACE_YEAR_NUMBER.

    A place is on one side in all years. The tiles to judge by are from places chosen by a hash, so
    that more tiles change nothing for those that were there.

    Raises:
        TrainingError: too few places to have both.
    """
    hashes = [zlib.crc32(_place(name).encode()) for name in names]
    chosen = {value for value in hashes if value % _JUDGED_SHARE == 0} or {min(hashes)}
    trained = [row for row, value in enumerate(hashes) if value not in chosen]
    judged = [row for row, value in enumerate(hashes) if value in chosen]
    if not trained:
        raise TrainingError("the tiles are all of one place: add others, to judge the weights by")
    return trained, judged[:_MAX_JUDGED]


def _place(name: str) -> str:
    parts = name.rsplit("_", 2)
    return f"{parts[0]}_{parts[-1]}"


def _data_folder(data: Path | None) -> Path:
    if data is None or not (data / TEACHER_FILE).is_file():
        raise TrainingError(
            f"sam3-nano learns from {TEACHER_FILE}, the teacher's answers on tiles; it is not in "
            f"{data or 'a folder, because none was given'}. Name its folder with --data"
        )
    return data


def _synthetic_tiles(folder: Path) -> Tiles:
    path = folder / SYNTHETIC_FILE
    if not path.is_file():
        from detection.training.sam3.synthetic import synthetic_tiles

        save_tiles(synthetic_tiles(_SCENE_SEEDS, _SCENE_LOTS), path)
    return read_tiles(path)


def _data_sha256(folder: Path, settings: NanoSettings) -> str:
    digest = hashlib.sha256(repr(asdict(settings)).encode())
    for name in (TEACHER_FILE, SYNTHETIC_FILE):
        if (folder / name).is_file():
            digest.update(file_sha256(folder / name).encode())
    return digest.hexdigest()
