"""The encoder's features of fixed random views, computed once and kept on the disk.

With a frozen encoder only its features matter. Each traced part is cut several times (turned,
scaled, recoloured), and training draws from these views. They lie in a folder whose name has the
hash of all that they depend on, so that a resume, or the next run, finds them; it may be deleted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from detection.errors import TrainingError
from detection.segmenters.landcover.encoder import FEATURE_CHANNELS, STRIDE_PX, Encoder
from detection.training.atomic import new_folder
from detection.training.landcover.traced_images import TracedImage
from detection.training.landcover.views import (
    LabelledViews,
    LabelledViewSettings,
    cut_views,
    traced_windows,
)

# The side of a traced part, around whose centre views lie: a window of the tracers.
_PART_M = 57.6
# Of a lot of which only some labels were reviewed, little ground has a code, and all of it counts.
_LEAST_KNOWN = 0.01
_SHIFT_M = 16.8
_GIB = 1 << 30
# Of the file format and of how views are drawn: raise it when either changes.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class FixedViewSettings:
    """Which views are kept.

    Attributes:
        per_part: of each traced part.
        seed: of the draw.
        views: how each is drawn.
    """

    per_part: int
    seed: int
    views: LabelledViewSettings


class FixedViews:
    """n views: features as half precision, and what was traced.

    Attributes:
        names: of the image of each view.
        sha256: identifies the views; same for the same images, settings and encoder.
    """

    def __init__(self, folder: Path, names: Sequence[str], sha256: str) -> None:
        self.names, self.sha256 = names, sha256
        self._features = [_opened(folder / _feature_file(i)) for i in range(len(FEATURE_CHANNELS))]
        self._codes, self._ndvi = _opened(folder / "codes.npy"), _opened(folder / "ndvi.npy")

    def batch(
        self, rows: NDArray[np.int64], device: torch.device
    ) -> tuple[list[Tensor], LabelledViews]:
        """(features (b, channels, h, w) finest first, what was traced on b views)."""
        features = [
            torch.from_numpy(each[rows]).to(device).float().permute(0, 3, 1, 2)
            for each in self._features
        ]
        codes = torch.from_numpy(self._codes[rows]).to(device).long()
        ndvi = torch.from_numpy(self._ndvi[rows]).to(device).float()
        return features, LabelledViews(features[0].new_zeros(0), codes, ndvi, None)


def fixed_views(
    images: Sequence[TracedImage],
    encoder: Encoder,
    encoder_sha256: str,
    settings: FixedViewSettings,
    folder: Path,
    most_gib: float,
    on_message: Callable[[str], None],
) -> FixedViews:
    """Read the views of images, or cut them and compute their features.

    Args:
        encoder: in evaluation mode.
        folder: for the folders of views.
        most_gib: that they may take.

    Raises:
        TrainingError: no part of the images was traced, the views are larger than `most_gib` or
            than the free disk, or the folder cannot be written.
    """
    parts = [
        (image, centre) for image in images for centre in _part_centres(image)
    ]  # fmt: skip
    if not parts:
        raise TrainingError("no traced window is left to train on: fewer may be held out")
    names = [image.name for image, _ in parts for _ in range(settings.per_part)]
    sha256 = _sha256(images, encoder_sha256, settings)
    path = folder / f"views-{sha256[:16]}"
    if not path.is_dir():
        _check_size(len(names), settings, folder, most_gib)
        on_message(f"computing the encoder's features of {len(names)} views once, into {path}")
        try:
            with new_folder(path) as draft:
                _write(parts, encoder, settings, draft)
        except OSError as error:
            raise TrainingError(
                f"the views cannot be written into {path} ({error}). Free disk space, or set cache "
                "to another folder"
            ) from error
    return FixedViews(path, names, sha256)


def view_bytes(side_px: int) -> int:
    """What a view takes on the disk."""
    cells = [(side_px >> level) ** 2 for level in range(1, len(FEATURE_CHANNELS) + 1)]
    values = sum(math.prod(pair) for pair in zip(FEATURE_CHANNELS, cells, strict=True))
    return 2 * values + 3 * cells[0]


def _check_size(count: int, settings: FixedViewSettings, folder: Path, most_gib: float) -> None:
    """
    Raises:
        TrainingError: the views take more than is allowed, or than there is.
    """
    needed = count * view_bytes(settings.views.side_px) / _GIB
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free / _GIB
    limit = min(most_gib, 0.95 * free)
    if needed > limit:
        fewer = math.floor(settings.per_part * limit / needed)
        raise TrainingError(
            f"{count} views of {settings.views.side_px} px take {needed:.2f} GiB; {most_gib:g} GiB "
            f"are allowed (cache_gib), and {free:.1f} GiB are free in {existing}. Set "
            f"views_per_part={max(1, fewer)} (it is {settings.per_part}), a smaller side_px, a "
            "larger cache_gib, or cache to a folder with more space"
        )


def _write(
    parts: Sequence[tuple[TracedImage, tuple[float, float]]],
    encoder: Encoder,
    settings: FixedViewSettings,
    folder: Path,
) -> None:
    """Cut the views part by part, and write them with their features."""
    count, side = len(parts) * settings.per_part, settings.views.side_px
    levels = [
        _created(
            folder / _feature_file(level),
            (count, side // 2 ** (level + 1), side // 2 ** (level + 1), channels),
        )
        for level, channels in enumerate(FEATURE_CHANNELS)
    ]
    halves = (count, side // 2, side // 2)
    ndvi = _created(folder / "ndvi.npy", halves)
    codes = _created(folder / "codes.npy", halves, np.int8)
    device = next(encoder.parameters()).device
    for number, (image, centre) in enumerate(parts):
        rows = slice(number * settings.per_part, (number + 1) * settings.per_part)
        views = _cut(image, centre, settings, number, device)
        with torch.inference_mode():
            pixels = views.pixels.contiguous(memory_format=torch.channels_last)
            features = encoder(pixels)
        for target, level in zip(levels, features, strict=True):
            target[rows] = level.permute(0, 2, 3, 1).half().cpu().numpy()
        codes[rows] = views.codes.cpu().numpy()
        # Unknown is NaN, which is neither green nor bare.
        known = views.ndvi if image.has_infrared else torch.full_like(views.ndvi, torch.nan)
        ndvi[rows] = known.half().cpu().numpy()
    for target in (*levels, codes, ndvi):
        target.flush()


def _cut(
    image: TracedImage,
    centre: tuple[float, float],
    settings: FixedViewSettings,
    number: int,
    device: torch.device,
) -> LabelledViews:
    """The views of a part, as a function of the seed and its number."""
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    count = settings.per_part
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * (_SHIFT_M / image.gsd_m)
    drawn = settings.views
    if not image.has_infrared:
        drawn = dataclasses.replace(drawn, infrared_share=0.0)
    views = cut_views(
        torch.from_numpy(image.pixels)[None], torch.from_numpy(image.codes)[None], None,
        torch.zeros(count, dtype=torch.long), torch.tensor(centre) + shift, image.gsd_m, drawn,
        generator,
    )  # fmt: skip
    return LabelledViews(
        views.pixels.to(device), views.codes.to(device), views.ndvi.to(device), None
    )


def _part_centres(image: TracedImage) -> list[tuple[float, float]]:
    found = traced_windows(image.codes[None], _PART_M / image.gsd_m, _LEAST_KNOWN)
    return [(x, y) for _, x, y in found]


def _sha256(images: Sequence[TracedImage], encoder: str, settings: FixedViewSettings) -> str:
    drawn = json.dumps([_FORMAT, encoder, dataclasses.asdict(settings)], sort_keys=True)
    digest = hashlib.sha256(drawn.encode())
    for image in images:
        digest.update(f"{image.name} {image.gsd_m} {image.has_infrared}".encode())
        digest.update(image.pixels.tobytes())
        digest.update(image.codes.tobytes())
    return digest.hexdigest()


def _feature_file(level: int) -> str:
    return f"features-{level}.npy"


def _created(
    path: Path, shape: tuple[int, ...], dtype: type[np.generic] = np.float16
) -> np.memmap[Any, Any]:
    created: np.memmap[Any, Any] = open_memmap(path, "w+", dtype, shape)
    return created


def _opened(path: Path) -> NDArray[np.generic]:
    opened: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    return opened


def check_side(side_px: int) -> None:
    """
    Raises:
        TrainingError: not a multiple of the encoder's stride.
    """
    if side_px <= 0 or side_px % STRIDE_PX:
        raise TrainingError(f"side_px is {side_px}, but must be a multiple of {STRIDE_PX}")
