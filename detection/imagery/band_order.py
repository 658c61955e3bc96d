"""Whether red, green and blue are where marks or convention say, judged from the pixels.

Nearly all software writes "red, green, blue" into any file of three or four bands, so the mark
is no proof. What gives a wrong order away:

- near infrared is the band whose detail is least like the others';
- it is more like red than like blue, in detail and in level, because haze and shade are blue,
  and soil and roofs are redder than blue;
- vegetation is pink where near infrared is shown as red, and green where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.imagery.band_evidence import detail_correlation, level_correlation, pooled_values
from detection.imagery.band_samples import BandSample

# Typical values of NAIP, by which the three signs of a swap are made comparable.
_TYPICAL_DETAIL, _TYPICAL_LEVEL, _TYPICAL_SOIL = 0.09, 0.1, 0.04
_MAX_SIGN = 1.5
_SWAPPED = -1.25
_MIN_PIXELS = 1_000
_REAL_DETAIL = 0.5
# Below, the fourth band is no near infrared (`band_evidence`), and proves nothing.
_RELATED_DETAIL = 0.15
# By how much another band's detail must be less like the rest than near infrared's.
_ODD_MARGIN = 0.06
# The share of pink pixels beyond a third of the green ones (NAIP: at most 0.02).
_MIN_PINK = 0.04
# The share of pink among coloured pixels: a third in pictures of all colours, and more in 575 of
# 916 NAIP tiles shown in false colour, in none shown in true colour.
_COLOURED, _PINK_OF_COLOURED = 1.4, 0.42
_GRAY_SHARE = 0.99
_GRAY_TOLERANCE = 0.01


def likely_order(samples: Sequence[BandSample]) -> tuple[str, ...] | None:
    """Another order that the pixels speak for; None if they do not contradict the names.

    Args:
        samples: with the bands that are called red, green and blue, and near infrared if any.
    """
    samples = [textured for s in samples if (textured := s.textured()).valid.any()]
    if not samples or sum(int(sample.valid.sum()) for sample in samples) < _MIN_PIXELS:
        return None
    bands = len(samples[0].pixels)
    values = pooled_values(samples)
    detail = [[detail_correlation(samples, a, b) for b in range(bands)] for a in range(bands)]
    if max(detail[a][a + 1] for a in range(bands - 1)) < _REAL_DETAIL:
        return None  # noise or a drawing, which proves nothing
    if bands == 3:
        return ("nir", "red", "green") if _is_false_colour(values) else None
    alike = [(sum(row) - 1) / 3 for row in detail]
    odd = int(np.argmin(alike))
    if odd != 3 and alike[odd] < alike[3] - _ODD_MARGIN:
        return ("nir", "red", "green", "blue") if odd == 0 else ("unclear",)
    return ("blue", "green", "red", "nir") if _is_swapped(detail[3], values) else None


def is_gray(samples: Sequence[BandSample]) -> bool:
    """Whether red, green and blue are the same, but not constant."""
    samples = [sample for sample in samples if sample.valid.any()]
    if not samples:
        return False
    values = pooled_values(samples)[:3]
    peak = float(np.abs(values).max())
    if float(np.ptp(values[0])) <= 10 * _GRAY_TOLERANCE * peak:
        return False
    same = np.ptp(values, axis=0) <= _GRAY_TOLERANCE * peak
    return bool(same.mean() >= _GRAY_SHARE)


def _is_swapped(detail: Sequence[float], values: NDArray[np.float32]) -> bool:
    """Whether the first band is more likely blue, and the third red."""
    red, _, blue, infrared = values
    by_detail = (detail[0] - detail[2]) / _TYPICAL_DETAIL
    by_level = level_correlation(infrared, red) - level_correlation(infrared, blue)
    signs = [by_detail, by_level / _TYPICAL_LEVEL]
    if by_detail >= 0 or by_level >= 0 or max(detail[:3]) < _RELATED_DETAIL:
        return False
    if values.max() <= 255:  # else not colour balanced: haze may make everything blue
        signs.append(_soil_redness(values) / _TYPICAL_SOIL)
    return float(np.clip(signs, -_MAX_SIGN, _MAX_SIGN).sum()) < _SWAPPED


def _soil_redness(values: NDArray[np.float32]) -> float:
    """The median of (red - blue) / (red + blue) over bright pixels without vegetation."""
    red, green, blue, infrared = values
    brightness = (red + green + blue) / 3
    bare = infrared < 1.15 * np.maximum(red, blue)
    bare &= (brightness > np.median(brightness)) & (brightness < 0.96 * values.max())
    if not bare.any():
        return 0.0
    return float(np.median(((red - blue) / np.maximum(red + blue, 1e-9))[bare]))


def _is_false_colour(values: NDArray[np.float32]) -> bool:
    """Whether leaves are pink: of the coloured pixels most are, and hardly any are green."""
    first, second, third = values[:3]
    bright = values[:3].mean(axis=0) > 0.15 * np.quantile(values, 0.99)
    pink = bright & (first > _COLOURED * second) & (third > second)
    green = bright & (second > 1.05 * first) & (second > 1.05 * third)
    coloured = bright & (values[:3].max(axis=0) > _COLOURED * values[:3].min(axis=0))
    if float(pink.mean() - 0.3 * green.mean()) <= _MIN_PINK:
        return False
    return float(pink.sum() / coloured.sum()) > _PINK_OF_COLOURED
