"""A baseline without weights: a vegetation index finds green, texture separates trees and grass.

Green is NDVI with near infrared, else GLI. Rough green is tree, smooth green is lawn. Thresholds
are chosen from each chip's pixels, within bounds.

Known errors: dormant (straw) lawns are missed; smooth crowns, clipped hedges, weeds, ground cover
and crops are lawn, because it cannot see what is mown; small shrubs are either; trees in full
shade and lawns in the broken shade of trees are confused; without near infrared, green paint and
artificial turf are vegetation, and lawns in blue shade are missed. A lawn under a tree is hidden.

Sources:
    NDVI: Rouse et al. (1974), Monitoring vegetation systems in the Great Plains with ERTS.
    GLI: Louhaichi, Borman and Johnson (2001), Geocarto International 16(1).
    Threshold: Otsu (1979), IEEE Transactions on Systems, Man and Cybernetics 9(1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nn
from torch import Tensor

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.segmenters.known_labels import SPECTRAL_LABELS

_LABELS = SPECTRAL_LABELS


@dataclass(frozen=True, slots=True)
class _Prior:
    """A default threshold, and the bounds within which a chip's own threshold is used instead."""

    default: float
    low: float
    high: float


_NDVI_PRIOR = _Prior(0.09, 0.05, 0.14)
_GLI_PRIOR = _Prior(0.05, 0.035, 0.08)
# Logarithm of a relative standard deviation (0.027, between 0.020 and 0.045); see _roughness.
_ROUGHNESS_PRIOR = _Prior(-3.6, -3.9, -3.1)
# The logarithm of brightness relative to the median of the green: darker pixels are in shade.
_SHADE_PRIOR = _Prior(math.log(0.65), math.log(0.5), math.log(0.78))

# Texture is measured at about this pixel size, so that finer imagery gives the same result.
_TEXTURE_GSD_M = 0.6
_TEXTURE_WINDOW_M = 3.0
# The halo of a crown: how far beyond its edge a texture window is still rough.
_HALO_M = 1.8
# Added to brightness, as a fraction of the median, so that noise in the dark is not texture.
_NOISE_FLOOR = 0.3
# Crowns shade themselves: a tenth darker than the other green counts as 20 % rougher.
_DARKNESS_WEIGHT = 2.0
# In shade the signal is lower and the noise higher.
_SHADE_ROUGHNESS = 0.6
# Pixels on the rim of the green are half pavement: they get a small weight.
_RIM_WEIGHT = 0.02

_SPECK_M = 0.25  # radius of the specks and pinholes that are noise
_NARROWEST_M = 1.0  # a green strip along a wall is narrower than any lawn
_LAWN_SEED_M = 1.0  # radius of the smallest separate lawn
_CROWN_M = 1.4  # radius of the smallest crown
_GROW_M = 1.8  # how far a lawn may grow into rough green at its edge
_GROW_ROUGHNESS = 2.0  # times the threshold, beyond which a lawn does not grow
# Confidence is 0.5 at the threshold, and 0.73 this far above it.
_INDEX_SCALE = {"ndvi": 0.05, "gli": 0.02}
# This many scales from the threshold a pixel is fully green, or not at all. The field is clipped
# there, so that the edge crosses a mixed pixel in proportion to its green.
_PURE = 3.0
# The smallest field value of a pixel whose label is not decided by its own greenness.
_MIN_FIELD = 0.1
_ROUGHNESS_SCALE = 0.4

# Otsu's separability is 0.64 for a single Gaussian, and higher for two modes.
_MIN_SEPARABILITY = 0.7
_MIN_PIXELS = 400
_MAX_SAMPLES = 500_000
_BINS = 256


class Spectral:
    """The baseline segmenter; the module's docstring lists its known errors.

    Results are deterministic. "vegetation" contains "lawn" and "tree", which are disjoint. Invalid
    pixels have no label and do not influence thresholds.

    A pixel's confidence is the logistic function of its greenness above the threshold; for lawn
    and tree it is multiplied by the logistic function of the texture's distance to its threshold.
    """

    name = "spectral-2"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = _LABELS
    chip_px = 1008
    gsd_m: float | None = None
    chips_per_batch = 1

    def __init__(self, device: str | None = None) -> None:
        """Use this torch `device`; by default a GPU if there is one."""
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def device(self) -> str:
        """Its device and precision, as text for people."""
        return f"{self._device.upper()}, float32"

    def prepare(self, labels: Sequence[Label]) -> None:
        """Check the labels; nothing else needs preparation.

        Raises:
            SegmenterError: a label that it cannot detect.
        """
        for label in labels:
            if label.name not in _LABELS:
                raise SegmenterError(
                    f"{self.name} cannot detect {label.name!r}, only {', '.join(_LABELS)}. Choose "
                    "one of these, or a segmenter with text prompts (sam3-tiny or sam3)"
                )

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """For each chip one mask per label, on the chip's pixels, in the labels' order.

        Raises:
            SegmenterError: a label that it cannot detect, or a chip without the bands red and
                nir, or red, green and blue.
        """
        self.prepare(labels)
        return [self._segment(chip, labels) for chip in chips]

    @torch.inference_mode()
    def _segment(self, chip: Chip, labels: Sequence[Label]) -> list[Mask]:
        found = _classify(_planes(chip, self._device), chip.gsd_m)
        masks = []
        for label in labels:
            field, confidence = (plane.float().cpu().numpy() for plane in found[label.name])
            masks.append(Mask(label, field, confidence, cells=field.shape))
        return masks


@dataclass(frozen=True, slots=True)
class _Planes:
    """What is computed from the bands, (height, width): vegetation index, brightness, valid."""

    index: Tensor
    index_scale: float
    prior: _Prior
    brightness: Tensor
    valid: Tensor


def _planes(chip: Chip, device: str) -> _Planes:
    names = [name for name in ("red", "green", "blue", "nir") if name in chip.bands]
    infrared = {"red", "nir"} <= set(names)
    if not infrared and not {"red", "green", "blue"} <= set(names):
        raise SegmenterError(
            f"spectral needs the bands red and nir, or red, green and blue; the chip has "
            f"{', '.join(chip.bands) or 'none'}. Set `bands:` in the county's `imagery:`"
        )
    bands = {
        name: torch.from_numpy(np.array(chip.band(name), dtype=np.float32)).to(device)
        for name in names
    }
    valid = torch.from_numpy(np.array(chip.valid, dtype=bool)).to(device)
    for band in bands.values():
        valid = valid & torch.isfinite(band)
    # Reflectance may be slightly negative, which would make an index unbounded.
    bands = {name: torch.where(valid, band, 0.0).clamp(min=0) for name, band in bands.items()}
    brightness = torch.stack(list(bands.values())).mean(0)
    if infrared:
        index = _ratio(bands["nir"] - bands["red"], bands["nir"] + bands["red"])
        return _Planes(index, _INDEX_SCALE["ndvi"], _NDVI_PRIOR, brightness, valid)
    red, green, blue = bands["red"], bands["green"], bands["blue"]
    index = _ratio(2 * green - red - blue, 2 * green + red + blue)
    # Pools are green to GLI; no leaf is bluer than green.
    index = torch.where(blue < green, index, index.clamp(max=0))
    return _Planes(index, _INDEX_SCALE["gli"], _GLI_PRIOR, brightness, valid)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """The quotient; -1 (no vegetation) for a black pixel."""
    return torch.where(below > 0, above / below.clamp(min=1e-12), -1.0)


def _classify(planes: _Planes, gsd_m: float) -> dict[str, tuple[Tensor, Tensor]]:
    """The field and the confidence of each label."""
    valid = planes.valid
    threshold = _threshold(planes.index[valid], planes.prior)
    green = valid & (planes.index > threshold)
    green = _smooth_edges(green, gsd_m) & valid
    rough, rough_threshold = _roughness(planes, green, gsd_m)

    tree = _trees(green, rough, rough_threshold, gsd_m)
    lawn = _wide(green & ~tree, round(_NARROWEST_M / gsd_m))

    greenness = (planes.index - threshold) / planes.index_scale
    confidence = torch.where(valid, greenness.sigmoid(), 0.0)
    tree_like = ((rough - rough_threshold) / _ROUGHNESS_SCALE).sigmoid()
    return {
        "vegetation": (_field(green, greenness), confidence),
        "tree": (_field(tree, greenness), confidence * tree_like),
        "lawn": (_field(lawn, greenness), confidence * (1 - tree_like)),
    }


def _field(mask: Tensor, greenness: Tensor) -> Tensor:
    """-1..1, above 0 exactly inside the mask; its size is the distance to the green threshold."""
    size = (greenness.abs() / _PURE).clamp(_MIN_FIELD, 1)
    return torch.where(mask, size, -size)


def _threshold(values: Tensor, prior: _Prior) -> float:
    """Otsu's threshold of the values (n,), or the default if theirs is unreliable.

    It is unreliable with few pixels, with one mode instead of two (a chip that is all lawn, or
    all roofs), and where it separates other modes (roofs and roads, or trees and lawns).
    """
    if values.numel() < _MIN_PIXELS:
        return prior.default
    values = values[:: 1 + values.numel() // _MAX_SAMPLES]
    low, high = (float(edge) for edge in values.quantile(values.new_tensor([0.01, 0.99])))
    if not high > low:
        return prior.default
    counts = torch.histc(values.clamp(low, high), _BINS, low, high).double()
    centres = low + (torch.arange(_BINS, dtype=torch.double, device=values.device) + 0.5) * (
        (high - low) / _BINS
    )
    share = counts / counts.sum()
    below = share.cumsum(0)[:-1]
    sums = (share * centres).cumsum(0)
    mean = sums[-1]
    between = (mean * below - sums[:-1]) ** 2 / (below * (1 - below)).clamp(min=1e-12)
    best = int(between.argmax())
    total = (share * (centres - mean) ** 2).sum()
    chosen = float((centres[best] + centres[best + 1]) / 2)
    reliable = float(between[best] / total) >= _MIN_SEPARABILITY
    return chosen if reliable and prior.low <= chosen <= prior.high else prior.default


def _roughness(planes: _Planes, green: Tensor, gsd_m: float) -> tuple[Tensor, float]:
    """(roughness of each pixel's neighbourhood, its threshold), as logarithms.

    Roughness is the standard deviation of log brightness among green pixels in the same light
    only; otherwise the edge of a lawn, or of a shadow on it, would be rough. Green that is darker
    than other sunlit green counts as rougher.
    """
    factor = max(1, round(_TEXTURE_GSD_M / gsd_m))
    share = _pool(green.float(), factor)
    usable = share > 0.5
    if not bool(usable.any()):
        return torch.zeros_like(planes.index), _ROUGHNESS_PRIOR.default
    brightness = _pool(planes.brightness * green, factor) / share.clamp(min=1e-6)
    relative = brightness / brightness[usable].median().clamp(min=1e-12)
    shade_threshold = _threshold(relative[usable].clamp(min=0.02).log(), _SHADE_PRIOR)
    shade = relative < math.exp(shade_threshold)

    light = ((relative + _NOISE_FLOOR) / (1 + _NOISE_FLOOR)).log()
    core = torch.where(_dilated(~usable, 1), _RIM_WEIGHT, 1.0) * usable
    window = _odd(_TEXTURE_WINDOW_M / (gsd_m * factor))
    in_sun, mean_light = _local_std(light, core * ~shade, window)
    in_shade, _ = _local_std(light, core * shade, window)
    rough = torch.where(
        shade,
        in_shade.clamp(min=1e-3).log() - _SHADE_ROUGHNESS,
        in_sun.clamp(min=1e-3).log() - _DARKNESS_WEIGHT * mean_light.clamp(-0.5, 0.5),
    )
    rough = _without_halo(rough, usable, _odd(_HALO_M / (gsd_m * factor)))
    threshold = _threshold(rough[usable & ~shade], _ROUGHNESS_PRIOR)
    return _unpool(rough, factor, planes.index.shape), threshold


def _trees(green: Tensor, rough: Tensor, threshold: float, gsd_m: float) -> Tensor:
    """The rough part of the green, minus what lawns regain at their edges."""
    smooth = _opened(green & (rough < threshold), round(_LAWN_SEED_M / gsd_m))
    growable = green & (rough < threshold + math.log(_GROW_ROUGHNESS))
    for _ in range(round(_GROW_M / gsd_m)):
        smooth = _dilated(smooth, 1) & growable | smooth
    return _opened(green & ~smooth, round(_CROWN_M / gsd_m))


def _smooth_edges(mask: Tensor, gsd_m: float) -> Tensor:
    """Remove specks and pinholes of about 0.3 m² (opening, then closing)."""
    radius_px = round(_SPECK_M / gsd_m)
    return ~_opened(~_opened(mask, radius_px), radius_px)


def _pool(plane: Tensor, factor: int) -> Tensor:
    """The mean of each factor x factor block; at the edge, of the pixels that exist."""
    return nn.avg_pool2d(plane[None, None], factor, ceil_mode=True, count_include_pad=False)[0, 0]


def _unpool(plane: Tensor, factor: int, shape: torch.Size) -> Tensor:
    if factor == 1:
        return plane
    fine = nn.interpolate(
        plane[None, None], scale_factor=factor, mode="bilinear", align_corners=False
    )[0, 0]
    return fine[: shape[0], : shape[1]]


def _local_std(values: Tensor, weight: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Weighted (standard deviation, mean) in a window (pixels, odd)."""

    def mean(plane: Tensor) -> Tensor:
        return nn.avg_pool2d(plane[None, None], window, stride=1, padding=window // 2)[0, 0]

    share = mean(weight).clamp(min=1e-6)
    average = mean(values * weight) / share
    deviation = (mean(values**2 * weight) / share - average**2).clamp(min=0).sqrt()
    return deviation, average


def _without_halo(rough: Tensor, usable: Tensor, window: int) -> Tensor:
    """The minimum roughness of usable pixels in a window (odd): crowns without their halo."""
    usable_rough = torch.where(usable, rough, math.inf)
    low = -nn.max_pool2d(-usable_rough[None, None], window, stride=1, padding=window // 2)[0, 0]
    return torch.where(low.isfinite(), low, rough)


def _odd(length_px: float) -> int:
    """The odd number of pixels nearest to a length, at least 3."""
    return max(3, 2 * round((length_px - 1) / 2) + 1)


def _dilated(mask: Tensor, steps: int) -> Tensor:
    """Dilate by that many pixels; alternating crosses and squares approximate an octagon."""
    plane = mask[None, None].float()
    for step in range(steps):
        if step % 2:
            plane = nn.max_pool2d(plane, 3, stride=1, padding=1)
        else:
            across = nn.max_pool2d(plane, (1, 3), stride=1, padding=(0, 1))
            down = nn.max_pool2d(plane, (3, 1), stride=1, padding=(1, 0))
            plane = torch.maximum(across, down)
    return plane[0, 0] > 0.5


def _opened(mask: Tensor, radius_px: int) -> Tensor:
    """Morphological opening; objects at the chip's edge are treated as continuing beyond it."""
    return _dilated(~_dilated(~mask, radius_px), radius_px) & mask


def _wide(mask: Tensor, width_px: int) -> Tensor:
    """The parts of the mask into which a square of that width fits (continued past the edge)."""
    if width_px <= 1:
        return mask
    plane = nn.pad(mask[None, None].float(), [width_px] * 4, mode="replicate")
    fits = 1 - nn.max_pool2d(1 - plane, width_px, stride=1)
    covered = nn.max_pool2d(nn.pad(fits, [width_px - 1] * 4), width_px, stride=1)[0, 0]
    return covered[width_px:-width_px, width_px:-width_px] > 0.5
