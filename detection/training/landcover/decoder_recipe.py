"""The training of landcover's decoder on corrections, with the encoder frozen; minutes on a CPU.

It starts from weights that are there, and draws from fixed views of the corrections and, so that
nothing is forgotten, of the windows of the first training. Batch norms keep their statistics.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detection.errors import TrainingError
from detection.segmenters.landcover.network import LandcoverNet, channels_last
from detection.segmenters.landcover.segmenter import Landcover
from detection.training.held_out import HELD_OUT_PREFIXES
from detection.training.landcover.export import LandcoverExport
from detection.training.landcover.fixed_views import (
    FixedViews,
    FixedViewSettings,
    check_side,
    fixed_views,
)
from detection.training.landcover.loss import landcover_loss
from detection.training.landcover.pack import read_pack
from detection.training.landcover.recipe import (
    SHIPPED,
    TILE_GSD_M,
    LandcoverSettings,
    prefixes_of,
    start_weights,
)
from detection.training.landcover.traced_images import (
    TracedImage,
    images_of_tiles,
    read_traced_images,
    split_judged,
)
from detection.training.landcover.views import LabelledViewSettings
from detection.training.recipes import RecipeRequest, Training
from detection.training.settings import TrainingSettings, changed
from detection.training.task import ParameterGroup, decay_groups, split_batch

NAME = "landcover-decoder"
SETTINGS = TrainingSettings(
    steps=300, learning_rate=4e-4, warm_up=0.05, clip_norm=2.0, ema_decay=0.98, betas=(0.9, 0.99),
    checkpoint_every=100, read_every=5,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """What is particular to the decoder's training.

    Attributes:
        start: a folder of landcover's weights to start from, or "shipped" for the package's own.
        batch: views in a step.
        rehearsal_share: the share of them from DATA/pack.npz, the first training's windows. 0
            needs no such file.
        views_per_part: fixed views of each traced part of about 58 m.
        judged_one_in: of so many corrected images, one judges the checkpoints instead of being
            trained on; 0 is none, when `held_out` names some.
        held_out: beginnings of the names of further images to judge by, separated by commas.
            Riverside is left out in any case.
        cache: folder of the views; DATA if empty.
        cache_gib: that the views of the corrections, and those of the rehearsal, may take.
        weight_decay: of matrices and kernels.
        side_px: of a view; 320 px at 0.2 m are a window of the tracers and its margin.
        gsd_m, scale, infrared_share: as `LabelledViewSettings`.
    """

    start: str = SHIPPED
    batch: int = 8
    rehearsal_share: float = 0.5
    views_per_part: int = 12
    judged_one_in: int = 5
    held_out: str = LandcoverSettings().held_out
    cache: str = ""
    cache_gib: float = 6.0
    weight_decay: float = 0.02
    side_px: int = 320
    gsd_m: float = 0.2
    scale: float = 1.35
    infrared_share: float = 0.25

    def __post_init__(self) -> None:
        check_side(self.side_px)
        if self.batch < 1 or self.views_per_part < 1 or self.judged_one_in < 0:
            raise TrainingError("batch and views_per_part must be at least 1, judged_one_in 0")
        if not 0 <= self.rehearsal_share < 1:
            raise TrainingError(
                f"rehearsal_share is {self.rehearsal_share}, but must be from 0 to less than 1"
            )


class DecoderTask:
    """Batches of fixed views: of corrections, then of the rehearsal."""

    name = NAME

    def __init__(
        self,
        network: LandcoverNet,
        corrections: FixedViews,
        rehearsal: FixedViews | None,
        settings: DecoderSettings,
        seed: int,
        start_sha256: str,
    ) -> None:
        """Train the decoder of a network, which is on its device.

        Args:
            rehearsal: None trains on corrections alone.
            start_sha256: of the weights that the network has.
        """
        self._network, self._settings, self._seed = network, settings, seed
        self.network: nn.Module = network
        self._network.encoder.requires_grad_(requires_grad=False)
        self._batch = settings.batch
        self._sources = [corrections]
        if rehearsal is not None and settings.rehearsal_share:
            self._sources.append(rehearsal)
        drawn = [seed, start_sha256, dataclasses.asdict(settings)]
        drawn += [views.sha256 for views in self._sources]
        self.data_sha256 = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()

    @property
    def sizes(self) -> Mapping[str, int]:
        """The views in a step."""
        return {"batch": self._batch}

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Draw fewer views, with the same share of rehearsal."""
        self._batch = sizes["batch"]

    def loss(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms of a step's views."""
        self._network.eval()  # batch norms keep their statistics
        device = self._network.head.weight.device
        parts = [views.batch(rows, device) for views, rows in self._draw(step)]
        features = [torch.cat(level) for level in zip(*(part[0] for part in parts), strict=True)]
        labelled = dataclasses.replace(
            parts[0][1],
            codes=torch.cat([views.codes for _, views in parts]),
            ndvi=torch.cat([views.ndvi for _, views in parts]),
        )
        return landcover_loss(self._network.decode(features), labelled)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The decoder's; the encoder's need no gradients."""
        return decay_groups(self._network.named_parameters(), self._settings.weight_decay)

    def batch_name(self, step: int) -> str:
        """The images of a step's views."""
        return ", ".join(views.names[row] for views, rows in self._draw(step) for row in rows)

    def _draw(self, step: int) -> list[tuple[FixedViews, NDArray[np.int64]]]:
        random = np.random.default_rng((self._seed, step))
        share = self._settings.rehearsal_share if len(self._sources) > 1 else 0.0
        counts = split_batch(self._batch, share, step)
        return [
            (views, random.integers(len(views.names), size=count))
            for views, count in zip(self._sources, counts, strict=False)
            if count
        ]


def build(request: RecipeRequest) -> Training:
    """Build the training, which computes the views' features.

    DATA has `traced` and `imagery` (see `traced_images`) and, for the rehearsal, pack.npz (see
    `pack`).

    Raises:
        TrainingError: data are missing or wrong, or the views are too large.
        SegmenterError: the weights to start from cannot be loaded.
    """
    data = request.data
    if data is None:
        raise TrainingError(
            f"{NAME} learns from traced windows: give --data, a folder with traced and imagery"
        )
    settings = changed(DecoderSettings(), request.overrides)
    device = torch.device(request.device)
    weights = start_weights(settings.start)
    start_sha256 = weights.sha256
    network = channels_last(weights.network, device)
    corrections, judged = split_judged(
        read_traced_images(data), settings.judged_one_in, prefixes_of(settings.held_out)
    )
    rehearsal: list[TracedImage] = []
    if settings.rehearsal_share:
        rehearsal, judged_before = _rehearsal(data, settings)
        apart = {image.name for image in judged}
        rehearsal = [image for image in rehearsal if image.name not in apart]
        judged += judged_before
    drawn = FixedViewSettings(
        settings.views_per_part,
        request.seed,
        LabelledViewSettings(
            settings.side_px, settings.gsd_m, settings.scale, settings.infrared_share
        ),
    )

    def views_of(images: list[TracedImage]) -> FixedViews:
        return fixed_views(
            images, network.encoder.eval(), start_sha256, drawn,
            Path(settings.cache) if settings.cache else data, settings.cache_gib,
            request.on_message,
        )  # fmt: skip

    task = DecoderTask(
        network, views_of(corrections), views_of(rehearsal) if rehearsal else None, settings,
        request.seed, start_sha256,
    )  # fmt: skip
    resolved = dataclasses.asdict(settings) | {"start_sha256": start_sha256}
    if not request.judged:
        return Training(task, SETTINGS, None, resolved)
    export = LandcoverExport(judged, settings.gsd_m, device)
    # Training can make weights worse: what it began with is the score to beat.
    start = export.judge(Landcover(weights, str(device)))
    request.on_message(f"the weights to start from have the score {start.score}")
    return Training(task, SETTINGS, export, resolved | {"start_score": start.score})


def _rehearsal(
    data: Path, settings: DecoderSettings
) -> tuple[list[TracedImage], list[TracedImage]]:
    """(to rehearse, to judge by) of the first training's windows.

    Raises:
        TrainingError: they are not there.
    """
    path = data / "pack.npz"
    if not path.is_file():
        raise TrainingError(
            f"{path} does not exist: it has the windows of the first training, so that nothing is "
            "forgotten (python -m detection.training.landcover.pack writes it). Without it, set "
            "rehearsal_share=0"
        )
    images = [
        image
        for image in images_of_tiles(read_pack(path), TILE_GSD_M)
        if not image.name.startswith(HELD_OUT_PREFIXES)
    ]
    return split_judged(images, 0, prefixes_of(settings.held_out))
