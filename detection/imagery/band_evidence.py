"""What the pixels say of the bands: whether one can be near infrared, and whether colours are
where their names say.

The limits are set on 918 tiles of NAIP, each alone, with a margin (docs/imagery.md has the
figures). Detail is the difference between neighbouring pixels, which is not influenced by haze,
exposure or colour balance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detection.imagery.band_samples import BandSample

_Plane = NDArray[np.float32]
# Of a band's greatest value: what differs less is the same, so that JPEG's noise is none.
_TOLERANCE = 0.008
# A band has one or two values if they hold this share of a window.
_CLUSTER_SHARE = 0.95
_MIN_PIXELS, _MIN_ACTIVE_SHARE = 12, 0.02
# A band that the colours explain this well is computed from them (NAIP: at most 0.97).
_MAX_R2 = 0.985
# The colours' detail explains this share of near infrared's (NAIP: at least 0.069, over dense
# vegetation), and none of a height's or of a feathered mask's (0.0001).
_MIN_DETAIL_R2 = 0.02
_MIN_DIFFERENCES = 1_000
# The colours' own detail: pixels of noise prove nothing.
_REAL_DETAIL = 0.5

BandKind = Literal["varied", "constant", "dark", "flat"]


def varies(samples: Sequence[BandSample], peak: float) -> str:
    """Why the fourth band is a mask, constant or empty: the end of a sentence; "" if it is not.

    Args:
        samples: with red, green, blue and that band.
        peak: the greatest value that a mask would have: the data type's, or the band's.
    """
    kinds = [(_kind(sample, peak), sample) for sample in samples]
    varied = [sample for kind, sample in kinds if kind == "varied"]
    constant = [sample for kind, sample in kinds if kind == "constant"]
    if not varied:
        if constant:
            return "has one value, or two, where the colours vary"
        is_dark = any(kind == "dark" for kind, _ in kinds)
        return "is 0 wherever it was looked at" if is_dark else ""
    if masked := _masked_files(varied, constant):
        return f"varies in some files, but has one value in others ({', '.join(masked)})"
    return ""


def is_mask(sample: BandSample, peak: float) -> bool:
    """Whether one window's fourth band has one or two values where the colours vary."""
    return _kind(sample, peak) == "constant"


def resembles(samples: Sequence[BandSample], peak: float) -> str:
    """Why a varying fourth band is not near infrared, compared with the colours; "" if it is.

    Args: as of `varies`.
    """
    samples = [s.textured() for s in samples if _kind(s, peak) == "varied"]
    samples = [sample for sample in samples if sample.valid.any()]
    if not samples:
        return ""
    colours, band = _pooled(samples)
    if _explained(colours, band) > _MAX_R2:
        return "is a copy or a mixture of the colours"
    if not _has_real_detail(samples):
        return ""
    detail = [np.concatenate([d for s in samples for d in _differences(s, i)]) for i in range(4)]
    is_enough = len(detail[3]) >= _MIN_DIFFERENCES
    if is_enough and _explained(np.stack(detail[:3]), detail[3]) < _MIN_DETAIL_R2:
        return "shows other things than the colours do"
    return ""


def detail_correlation(samples: Sequence[BandSample], one: int, other: int) -> float:
    """The correlation of two bands' differences between neighbouring pixels; 0 if one has none."""
    sums = np.zeros(3)
    for sample in samples:
        for a, b in zip(_differences(sample, one), _differences(sample, other), strict=True):
            sums += (float(a @ b), float(a @ a), float(b @ b))
    product, first, second = sums
    return float(product / np.sqrt(first * second)) if first > 0 and second > 0 else 0.0


def level_correlation(one: _Plane, other: _Plane) -> float:
    """The correlation of two bands' values; 0 if one is constant."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def pooled_values(samples: Sequence[BandSample]) -> NDArray[np.float32]:
    """(bands, n) valid values of all samples."""
    return np.concatenate([sample.pixels[:, sample.valid] for sample in samples], axis=1)


def _kind(sample: BandSample, peak: float) -> BandKind:
    """What one window says of its fourth band."""
    band = sample.pixels[3]
    active = sample.valid & (band > _TOLERANCE * peak)
    if sample.valid.sum() < _MIN_PIXELS:
        return "flat"
    if active.sum() < max(_MIN_PIXELS, _MIN_ACTIVE_SHARE * sample.valid.sum()):
        return "dark"
    clusters = _clusters(band[active])
    if clusters > 2:
        return "varied"
    fewest = min(_clusters(plane[active]) for plane in sample.pixels[:3])
    # Water, a roof or a painted scene: the colours have no more values than the band.
    if fewest <= clusters and not (clusters == 1 and _is_opaque(band[active], peak)):
        return "flat" if clusters == 1 else "varied"
    return "constant"


def _is_opaque(values: _Plane, peak: float) -> bool:
    return bool(np.median(values) >= (1 - _TOLERANCE) * peak)


def _clusters(values: _Plane) -> int:
    """How many values a band has, up to noise: 1, 2, or 3 for more."""
    tolerance = _TOLERANCE * float(np.abs(values).max())
    share = 0.0
    left = values
    for count in (1, 2):
        found, counts = np.unique(left, return_counts=True)
        near = np.abs(left - found[counts.argmax()]) <= tolerance
        share += near.sum() / len(values)
        if share >= _CLUSTER_SHARE:
            return count
        left = left[~near]
    return 3


def _masked_files(varied: Sequence[BandSample], constant: Sequence[BandSample]) -> list[str]:
    """Files whose band is constant, and as bright as near infrared never is all over a file."""
    brightest = max(float(sample.pixels[3][sample.valid].max()) for sample in varied)
    varying = {sample.path for sample in varied}
    return sorted(
        {
            sample.path
            for sample in constant
            if sample.path not in varying
            and np.median(sample.pixels[3][sample.valid]) >= (1 - _TOLERANCE) * brightest
        }
    )[:3]


def _pooled(samples: Sequence[BandSample]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = pooled_values(samples).astype(np.float64)
    return values[:3], values[3]


def _explained(colours: NDArray[np.float64], band: NDArray[np.float64]) -> float:
    """The share of a band's variance that a linear mixture of the colours explains (R²)."""
    total = float(((band - band.mean()) ** 2).sum())
    if total == 0:
        return 1.0
    columns = np.stack([*colours, np.ones_like(band)], axis=1)
    weights, *_ = np.linalg.lstsq(columns, band, rcond=None)
    return 1 - float(((band - columns @ weights) ** 2).sum()) / total


def _has_real_detail(samples: Sequence[BandSample]) -> bool:
    return detail_correlation(samples, 0, 1) > _REAL_DETAIL


def _differences(sample: BandSample, band: int) -> list[NDArray[np.float64]]:
    """The band's differences to the right and below, where both pixels are valid."""
    plane, valid = sample.pixels[band].astype(np.float64), sample.valid
    right = (plane[:, 1:] - plane[:, :-1])[valid[:, 1:] & valid[:, :-1]]
    below = (plane[1:] - plane[:-1])[valid[1:] & valid[:-1]]
    return [right, below]
