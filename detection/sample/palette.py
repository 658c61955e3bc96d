"""The colours of what differs from region to region: a palette for each style of a scene.

`green` is a watered suburb. `dry` is one in a drought: lawns are brown, roofs are of clay tile
and as brown, and leaves are olive. The ground plan of a seed is the same in every style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

Colour = tuple[float, float, float, float]
"""Digital numbers of red, green, blue and near infrared, sunlit."""

DEFAULT_STYLE: Final = "green"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a style, as in NAIP's 8 bit product.

    Attributes:
        turf, straw: of a watered and of a dormant lawn.
        least_dormancy: 0..1, of the greenest lawn; the brownest is all straw.
        meadow: of ground outside of lots and streets.
        roofs: one is drawn for each house.
        needles, leaves: of the darkest and the brightest crown.
    """

    turf: Colour
    straw: Colour
    least_dormancy: float
    meadow: Colour
    soil: Colour
    mulch: Colour
    roofs: tuple[Colour, ...]
    needles: Colour
    leaves: Colour


PALETTES: Final[Mapping[str, Palette]] = MappingProxyType({
    # NDVI: lawn about 0.3, dry turf 0.03, roofs and roads -0.05 to -0.15.
    "green": Palette(
        turf=(88, 110, 76, 164),
        straw=(150, 138, 108, 160),
        least_dormancy=0.0,
        meadow=(112, 116, 84, 148),
        soil=(150, 128, 100, 138),
        mulch=(92, 74, 60, 84),
        roofs=(
            (112, 108, 104, 98),
            (86, 84, 84, 76),
            (132, 116, 100, 112),
            (152, 142, 130, 134),
            (140, 92, 76, 112),
            (100, 104, 108, 92),
            (178, 176, 170, 160),
        ),
        needles=(56, 72, 54, 108),
        leaves=(74, 100, 58, 160),
    ),
    "dry": Palette(
        turf=(150, 128, 96, 150),
        straw=(176, 144, 106, 150),
        least_dormancy=0.5,
        meadow=(178, 152, 116, 160),
        soil=(132, 112, 90, 120),
        mulch=(112, 78, 60, 96),
        roofs=(
            (150, 122, 94, 130),
            (132, 104, 80, 116),
            (168, 138, 106, 146),
            (116, 92, 72, 104),
        ),
        needles=(74, 80, 60, 112),
        leaves=(106, 112, 76, 150),
    ),
})  # fmt: skip


def palette_of(style: str) -> Palette:
    """The palette of a style.

    Raises:
        ValueError: no style has this name.
    """
    if style not in PALETTES:
        raise ValueError(f"no style of the sample is named {style!r}: use {', '.join(PALETTES)}")
    return PALETTES[style]
