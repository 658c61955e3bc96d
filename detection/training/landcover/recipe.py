"""The training of landcover: traced windows, near infrared on all tiles, and perhaps a teacher."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from detection.errors import TrainingError
from detection.segmenters.landcover.encoder import imagenet_state
from detection.segmenters.landcover.network import LandcoverNet, channels_last
from detection.segmenters.landcover.weights import (
    LandcoverWeights,
    load_landcover,
)
from detection.training.held_out import HELD_OUT_PREFIXES
from detection.training.landcover.export import LandcoverExport
from detection.training.landcover.loss import landcover_loss
from detection.training.landcover.pack import LandcoverTiles, read_pack
from detection.training.landcover.synthetic_tiles import read_synthetic
from detection.training.landcover.traced_images import images_of_tiles, split_judged
from detection.training.landcover.views import LabelledViewSettings, cut_views, traced_windows
from detection.training.recipes import RecipeRequest, Training
from detection.training.settings import TrainingSettings, changed
from detection.training.task import ParameterGroup, decay_groups, split_batch

NAME = "landcover"
TILE_GSD_M = 0.6
SHIPPED = "shipped"
SETTINGS = TrainingSettings(
    steps=6000, learning_rate=1.5e-3, warm_up=0.03, clip_norm=2.0, ema_decay=0.998,
    betas=(0.9, 0.99), checkpoint_every=1500, read_every=25,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LandcoverSettings:
    """What is particular to landcover.

    Attributes:
        traced_views, other_views: in a batch: of traced windows, and of any tile.
        synthetic_views: of synthetic scenes, DATA/synthetic.npz (see `synthetic_tiles`).
        held_out: beginnings of the names of tiles that checkpoints are judged on instead of being
            trained on, separated by commas. Riverside is left out in any case.
        encoder_rate: factor of the learning rate of the pretrained encoder.
        weight_decay: of matrices and kernels.
        pretrained: whether the encoder starts from ImageNet's weights, DATA/encoder.safetensors.
        start: a folder of landcover's weights to start from instead, or "shipped" for the
            package's own.
        fixed_norms: whether batch norms keep their statistics, for few steps of small batches.
        other_years: whether what was traced in one year counts in others too, where near infrared
            agrees (see `other_years`).
        teacher: whether DATA/teacher.npz (see `teach`) has a teacher's answers on all tiles.
        side_px, gsd_m, scale, infrared_share: as `LabelledViewSettings`.
    """

    traced_views: int = 16
    other_views: int = 8
    synthetic_views: int = 0
    held_out: str = "long_beach_2018,claremont_2018_71,chico_2020_66,palm_springs_2020_38"
    encoder_rate: float = 0.4
    weight_decay: float = 0.02
    pretrained: bool = True
    start: str = ""
    fixed_norms: bool = False
    other_years: bool = True
    teacher: bool = False
    side_px: int = 512
    gsd_m: float = 0.2
    scale: float = 1.35
    infrared_share: float = 0.25


class LandcoverTask:
    """Batches of views: traced ones first."""

    name = NAME

    def __init__(
        self,
        data: Path,
        tiles: LandcoverTiles,
        settings: LandcoverSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        self._settings, self._seed, self._device = settings, seed, device
        self._full = settings.traced_views + settings.other_views + settings.synthetic_views
        self._batch = self._full
        held_out = (*HELD_OUT_PREFIXES, *prefixes_of(settings.held_out))
        rows = [row for row, name in enumerate(tiles.names) if not name.startswith(held_out)]
        self._names = [tiles.names[row] for row in rows]
        pixels = tiles.pixels[rows]
        traced = (tiles.traced_or_carried(held_out) if settings.other_years else tiles.traced)[rows]
        self._windows = traced_windows(traced)
        self._synthetic = 0
        if settings.synthetic_views:
            scenes, codes = read_synthetic(data / "synthetic.npz", TILE_GSD_M, pixels.shape[-1])
            self._synthetic = len(scenes)
            pixels, traced = np.concatenate([pixels, scenes]), np.concatenate([traced, codes])
        self._pixels = torch.from_numpy(pixels).to(device)
        self._traced = torch.from_numpy(traced).to(device)
        self._soft = None
        if settings.teacher:
            self._soft = _teacher(data, self._names, self._synthetic, device)
        if not self._windows:
            raise TrainingError(f"{data} has no traced window to train on")
        drawn = json.dumps([seed, dataclasses.asdict(settings)], sort_keys=True)
        digest = hashlib.sha256(drawn.encode())
        digest.update(pixels.tobytes())
        digest.update(traced.tobytes())
        self.data_sha256 = digest.hexdigest()
        torch.manual_seed(seed)
        self._network = LandcoverNet()
        if settings.start:
            start = start_weights(settings.start)
            self._network = start.network
            digest.update(start.sha256.encode())
            self.data_sha256 = digest.hexdigest()
        elif settings.pretrained:
            self._network.encoder.load_state_dict(_pretrained(data))
        self.network: nn.Module = channels_last(self._network, device)
        self._views = LabelledViewSettings(
            settings.side_px, settings.gsd_m, settings.scale, settings.infrared_share
        )

    @property
    def sizes(self) -> Mapping[str, int]:
        """The views in a step, of all kinds."""
        return {"batch": self._batch}

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Draw fewer views, with the same share of each kind."""
        self._batch = sizes["batch"]

    def loss(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms of a step's views."""
        rows, centres = self._draw(step)
        generator = torch.Generator(self._device).manual_seed(self._seed * 1_000_003 + step)
        views = cut_views(
            self._pixels, self._traced, self._soft, rows.to(self._device),
            centres.to(self._device), TILE_GSD_M, self._views, generator,
        )  # fmt: skip
        pixels = views.pixels.contiguous(memory_format=torch.channels_last)
        if self._settings.fixed_norms:
            self._network.eval()
        return landcover_loss(self._network(pixels), views)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The encoder learns slower than the rest."""
        decay = self._settings.weight_decay
        named = list(self._network.named_parameters())
        encoder = [(name, each) for name, each in named if name.startswith("encoder.")]
        others = [(name, each) for name, each in named if not name.startswith("encoder.")]
        return [
            *decay_groups(encoder, decay, self._settings.encoder_rate),
            *decay_groups(others, decay),
        ]

    def batch_name(self, step: int) -> str:
        """The tiles of a step's views."""
        rows, _ = self._draw(step)
        known = len(self._names)
        return ", ".join(
            self._names[row] if row < known else f"synthetic {row - known}" for row in rows.tolist()
        )

    def _draw(self, step: int) -> tuple[Tensor, Tensor]:
        """(tiles, centres) of a step: a window's views lie around its centre."""
        random = np.random.default_rng((self._seed, step))
        settings = self._settings
        share = settings.other_views / (settings.traced_views + settings.other_views)
        scene_count = self._batch * settings.synthetic_views // self._full
        traced_count, other_count = split_batch(self._batch - scene_count, share, step)
        chosen = random.integers(len(self._windows), size=traced_count)
        traced = np.array(self._windows)[chosen]
        centres = traced[:, 1:] + random.integers(-28, 29, (traced_count, 2))
        side = self._pixels.shape[-1]
        others = random.integers(len(self._names), size=other_count)
        other_centres = random.uniform(0.15 * side, 0.85 * side, (other_count, 2))
        rows = [traced[:, 0].astype(np.int64), others]
        places = [centres, other_centres]
        if scene_count:
            scenes = random.integers(self._synthetic, size=scene_count)
            rows.append(scenes + len(self._names))
            places.append(random.uniform(0.3 * side, 0.7 * side, (scene_count, 2)))
        return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(
            np.concatenate(places).astype(np.float32)
        )


def build(request: RecipeRequest) -> Training:
    """Build the training.

    DATA has pack.npz (see `pack`), encoder.safetensors (see `encoder_weights`) and, with
    `teacher=true`, teacher.npz.

    Raises:
        TrainingError: data are missing.
    """
    if request.data is None:
        raise TrainingError("landcover is trained on tiles: give --data, a folder with pack.npz")
    settings = changed(LandcoverSettings(), request.overrides)
    device = torch.device(request.device)
    # All views have one size.
    torch.backends.cudnn.benchmark = device.type == "cuda"
    tiles = read_pack(request.data / "pack.npz")
    return Training(
        task=LandcoverTask(request.data, tiles, settings, request.seed or 0, device),
        settings=SETTINGS,
        export=_export(tiles, settings, device) if request.judged else None,
        resolved=dataclasses.asdict(settings),
    )


def start_weights(start: str) -> LandcoverWeights:
    """Weights to train on from, whose network has gradients.

    Args:
        start: a folder, or "shipped" for the package's own weights.

    Raises:
        SegmenterError: there are none, or they do not fit.
    """
    weights = load_landcover(None if start == SHIPPED else Path(start))
    weights.network.requires_grad_()
    return weights


def _export(
    tiles: LandcoverTiles, settings: LandcoverSettings, device: torch.device
) -> LandcoverExport:
    images = images_of_tiles(tiles, TILE_GSD_M)
    _, judged = split_judged(images, 0, prefixes_of(settings.held_out))
    return LandcoverExport(judged, settings.gsd_m, device)


def prefixes_of(held_out: str) -> tuple[str, ...]:
    """The beginnings of names in a setting, which are separated by commas."""
    return tuple(part for part in held_out.split(",") if part)


def _teacher(data: Path, names: list[str], synthetic: int, device: torch.device) -> Tensor:
    """(n, 7, side, side) uint8 of the names, and rows of zeros for synthetic tiles."""
    try:
        with np.load(data / "teacher.npz", allow_pickle=False) as file:
            rows = {str(name): row for row, name in enumerate(file["names"])}
            soft = file["probabilities"]
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{data / 'teacher.npz'} cannot be read: {error}") from error
    if missing := [name for name in names if name not in rows]:
        raise TrainingError(f"the teacher has no answer on {len(missing)} tiles: {missing[0]}")
    known = soft[[rows[name] for name in names]]
    nothing = np.zeros((synthetic, *known.shape[1:]), known.dtype)
    return torch.from_numpy(np.concatenate([known, nothing])).to(device)


def _pretrained(data: Path) -> dict[str, Tensor]:
    path = data / "encoder.safetensors"
    if not path.is_file():
        raise TrainingError(
            f"{path} does not exist: write it with python -m "
            "detection.training.landcover.encoder_weights, or set pretrained=false"
        )
    return imagenet_state({name: tensor.float() for name, tensor in load_file(path).items()})
