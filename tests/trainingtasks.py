"""Real, small tasks for the tests of the trainer: a line through points, and green pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from pyproj import CRS
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from detection.chip import Chip
from detection.errors import SegmenterError, TrainingError
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import Label
from detection.segmenters.interface import Mask, Segmenter
from detection.training.ranks import ALONE, Ranks
from detection.training.recipes import RecipeRequest, Training
from detection.training.settings import TrainingSettings
from detection.training.task import Judgement, ParameterGroup, Probe, decay_groups


class LineTask:
    """Fits y = 3 x - 1 with a layer, a batch norm with statistics, dropout and a layer.

    Attributes:
        bad_steps: steps whose batch has an image of NaN.
    """

    name = "line"

    def __init__(self, seed: int = 3, bad_steps: Sequence[int] = ()) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = nn.Sequential(
            nn.Linear(1, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1)
        )
        self.data_sha256 = hashlib.sha256(b"line").hexdigest()
        self.bad_steps = set(bad_steps)
        self._seed = seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        x = torch.rand(32, 1, generator=generator) * 2 - 1
        y = 3 * x - 1 + 0.01 * torch.randn(32, 1, generator=generator)
        if step in self.bad_steps:
            x[5] = torch.nan
        return x, y

    def loss(self, step: int) -> Mapping[str, Tensor]:
        x, y = self.batch(step)
        error = self.network(x) - y
        return {"square": error.square().mean(), "absolute": 0.1 * error.abs().mean()}

    def parameter_groups(self) -> list[ParameterGroup]:
        return decay_groups(self.network.named_parameters(), 0.01)

    def batch_name(self, step: int) -> str:
        return f"points-{step}.csv"


class ColourTask:
    """Learns which pixels are green, with one convolution; judged by IoU through a segmenter."""

    name = "colour"

    def __init__(self, seed: int = 3) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = nn.Conv2d(3, 1, 1)
        self.data_sha256 = hashlib.sha256(b"colour").hexdigest()

    def loss(self, step: int) -> Mapping[str, Tensor]:
        generator = torch.Generator().manual_seed(step)
        pixels = torch.rand(4, 3, 8, 8, generator=generator)
        green = (pixels[:, 1:2] > pixels[:, :1]).float()
        entropy = nn.functional.binary_cross_entropy_with_logits(self.network(pixels), green)
        return {"entropy": entropy}

    def parameter_groups(self) -> list[ParameterGroup]:
        return decay_groups(self.network.named_parameters(), 0.0)

    def batch_name(self, step: int) -> str:
        return f"random colours {step}"


GREENERY = Label("greenery", "greenery", "continuous", 1.0)


def colour_chip(seed: int) -> Chip:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 32, 32), np.uint8)
    grid = PixelGrid("EPSG:26916", 0.3)
    transform = grid.transform(PixelWindow(0, 0, 32, 32))
    inside = np.ones((32, 32), bool)
    return Chip(pixels, inside, transform, CRS.from_epsg(26916), ("red", "green", "blue"))


class ColourSegmenter:
    """A `Segmenter` around the convolution."""

    name, labels, chip_px, gsd_m, chips_per_batch = "colour-1", ("greenery",), 32, None, 1
    device = "CPU"

    def __init__(self, network: nn.Module, weights_sha256: str | None) -> None:
        self._network, self.weights_sha256 = network, weights_sha256

    def prepare(self, labels: Sequence[Label]) -> None:
        pass

    @torch.inference_mode()
    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        answers = []
        for chip in chips:
            logits = self._network(torch.from_numpy(chip.pixels / np.float32(255))[None])[0, 0]
            field = logits.numpy()
            masks = [Mask(label, field, 1 / (1 + np.exp(-field)), field.shape) for label in labels]
            answers.append(masks)
        return answers


class ColourExport:
    """Half-precision safetensors; judged on two chips."""

    probe = Probe([colour_chip(1), colour_chip(2)], [GREENERY])

    def export(self, network: nn.Module, folder: Path) -> None:
        state = {name: each.half() for name, each in network.state_dict().items()}
        save_file(state, folder / "model.safetensors")

    def load(self, folder: Path) -> ColourSegmenter:
        path = folder / "model.safetensors"
        network = nn.Conv2d(3, 1, 1)
        try:
            network.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise SegmenterError(f"{path}: {error}") from error
        return ColourSegmenter(network, hashlib.sha256(path.read_bytes()).hexdigest())

    def wrap(self, network: nn.Module) -> ColourSegmenter:
        return ColourSegmenter(network, None)

    def judge(self, segmenter: Segmenter) -> Judgement:
        intersection = union = 0
        for seed in (11, 12):
            chip = colour_chip(seed)
            [[mask]] = segmenter.segment([chip], [GREENERY])
            truth = chip.pixels[1].astype(int) > chip.pixels[0]
            intersection += int((truth & (mask.field > 0)).sum())
            union += int((truth | (mask.field > 0)).sum())
        return Judgement(intersection / union, {"iou": intersection / union})


def build(request: RecipeRequest) -> Training:
    """A recipe of `ColourTask`, for the command."""
    if request.overrides:
        raise TrainingError(f"no setting is named {next(iter(request.overrides))!r}")
    settings = TrainingSettings(steps=30, checkpoint_every=10, learning_rate=0.5, ema_decay=0.5)
    export = ColourExport() if request.judged else None
    return Training(ColourTask(request.seed), settings, export, {"colours": 3})


class SharedLine:
    """Fits the line with a layer and dropout, in as many processes as there are.

    Attributes:
        bad: (step, row) of a sample of NaN; of two ranks, the second one has the odd rows.
        on_loss: called with each step before its loss.
    """

    name = "shared line"

    def __init__(
        self,
        rows: int = 16,
        dropout: float = 0.1,
        bad: Sequence[tuple[int, int]] = (),
        on_loss: Callable[[int], None] = lambda _: None,
    ) -> None:
        torch.manual_seed(3)
        self.network: nn.Module = nn.Sequential(
            nn.Linear(1, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1)
        )
        self.data_sha256 = hashlib.sha256(b"shared line").hexdigest()
        self._rows, self._bad, self._on_loss = rows, bad, on_loss
        self._ranks = ALONE

    def share(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def loss(self, step: int) -> Mapping[str, Tensor]:
        self._on_loss(step)
        generator = torch.Generator().manual_seed(step)
        x = torch.rand(self._rows * self._ranks.count, 1, generator=generator) * 2 - 1
        for bad_step, row in self._bad:
            if bad_step == step:
                x[row] = torch.nan
        x = x[self._ranks.number :: self._ranks.count]
        return {"square": (self.network(x) - (3 * x - 1)).square().mean()}

    def parameter_groups(self) -> list[ParameterGroup]:
        return decay_groups(self.network.named_parameters(), 0.01)

    def batch_name(self, step: int) -> str:
        return f"points-{step}.csv"
