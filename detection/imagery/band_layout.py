"""What a file says of its bands, and the names that follow from that before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rasterio.io import DatasetReader

from detection.errors import ImageryError
from detection.imagery.band_names import (
    COLOURS,
    has_unknown_numbers,
    name_by_tag,
    name_by_wavelength,
    names_by_description,
    says_something,
)
from detection.imagery.palette import ExpandedPalette

# Where a name comes from. GDAL tags any three or four bands of 8 bits as red, green, blue and
# alpha unless told otherwise, so a tag is hardly more than a convention.
NamedBy = Literal["description", "tag", "convention"]


@dataclass(frozen=True, slots=True)
class BandLayout:
    """The bands of a file, as its header declares them.

    Attributes:
        dtypes: of each band.
        colours: GDAL's colour interpretation of each band, by its name.
        wavelengths_um: central wavelengths in micrometres.
        scales, offsets: a band's values are `pixel * scale + offset`.
        is_palette: its colours come from a palette.
    """

    dtypes: tuple[str, ...]
    colours: tuple[str, ...]
    descriptions: tuple[str, ...]
    wavelengths_um: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    is_palette: bool

    @classmethod
    def of(cls, dataset: DatasetReader) -> BandLayout:
        """The layout of an open file."""
        colours = tuple(colour.name for colour in dataset.colorinterp)
        return cls(
            tuple(dataset.dtypes),
            colours,
            tuple(text or "" for text in dataset.descriptions),
            tuple(_wavelength_um(dataset, index) for index in dataset.indexes),
            tuple(dataset.scales),
            tuple(dataset.offsets),
            isinstance(dataset, ExpandedPalette),
        )

    @property
    def count(self) -> int:
        """The number of bands, alpha included."""
        return len(self.dtypes)

    def is_alpha(self, index: int) -> bool:
        """Whether the band (1-based) is marked as alpha."""
        return self.colours[index - 1] == "alpha"


@dataclass(frozen=True, slots=True)
class NamedBands:
    """Bands of a file with their names.

    Attributes:
        indexes: 1-based.
        order_by: what tells red, green and blue apart; None where a file has not all three.
        nir_by: what says that a band is near infrared; None where none does.
    """

    indexes: tuple[int, ...]
    names: tuple[str, ...]
    order_by: NamedBy | None = None
    nir_by: NamedBy | None = None

    def without(self, name: str) -> NamedBands:
        """The same without one band."""
        kept = [pair for pair in zip(self.indexes, self.names, strict=True) if pair[1] != name]
        indexes, names = zip(*kept, strict=True)
        return NamedBands(indexes, names, self.order_by, None if name == "nir" else self.nir_by)


def declared_bands(layout: BandLayout, declared: tuple[str, ...], path: str) -> NamedBands:
    """The first bands of a file, named by the registry entry.

    An alpha band is counted only if there are more names than other bands.

    Raises:
        ImageryError: more names than bands, or a name twice.
    """
    every = range(1, layout.count + 1)
    plain = [index for index in every if not layout.is_alpha(index)]
    candidates = list(every) if len(declared) > len(plain) else plain
    if len(declared) > len(candidates) or len(set(declared)) < len(declared):
        raise ImageryError(
            f"{path} has {len(candidates)} bands, but `imagery: {{bands: …}}` lists "
            f"{', '.join(declared)}. List the file's bands from the first, each once"
        )
    return NamedBands(tuple(candidates[: len(declared)]), declared)


def marked_bands(layout: BandLayout) -> NamedBands:
    """The bands of a file, named by its marks and by convention; "band5" where neither tells.

    A fourth band after red, green and blue is near infrared, also where it is marked as alpha:
    its pixels must confirm it (`band_choice`).
    """
    indexes = [index for index in range(1, layout.count + 1) if not layout.is_alpha(index)]
    described = names_by_description(layout.descriptions)
    if "nir" in described and described.index("nir") + 1 not in indexes:
        indexes = sorted([*indexes, described.index("nir") + 1])
    sources: dict[int, tuple[str, NamedBy]] = {}
    for index in indexes:
        place = index - 1
        by_words = described[place] or name_by_wavelength(layout.wavelengths_um[place])
        by_tag = name_by_tag(layout.colours[place])
        if by_words:
            sources[index] = (by_words, "description")
        elif by_tag:
            sources[index] = (by_tag, "tag")
    if not sources and len(indexes) in (3, 4) and not has_unknown_numbers(layout.descriptions):
        for index, name in zip(indexes, COLOURS, strict=False):
            sources[index] = (name, "convention")
    _add_near_infrared(layout, indexes, sources)
    if not sources and len(indexes) == 1:
        sources[indexes[0]] = ("gray", "convention")
    elif len(indexes) == 1 and layout.colours[indexes[0] - 1] == "gray":
        sources.setdefault(indexes[0], ("gray", "tag"))
    return _named(indexes, sources)


def default_names(count: int) -> tuple[str, ...]:
    """Conventional names, given only the number of bands."""
    if count in (3, 4):
        return (*COLOURS, "nir")[:count]
    return tuple(f"band{index}" for index in range(1, count + 1))


def _add_near_infrared(
    layout: BandLayout, indexes: list[int], sources: dict[int, tuple[str, NamedBy]]
) -> None:
    """Take the one band beside red, green and blue for near infrared."""
    names = [name for name, _ in sources.values()]
    if sorted(names) != sorted(COLOURS):
        return
    unnamed = [index for index in indexes if index not in sources]
    if not unnamed:
        unnamed = [index for index in range(1, layout.count + 1) if layout.is_alpha(index)]
        unnamed = unnamed if len(unnamed) == 1 else []
    if len(unnamed) == 1 and not says_something(layout.descriptions[unnamed[0] - 1]):
        indexes[:] = sorted({*indexes, *unnamed})
        sources[unnamed[0]] = ("nir", "convention")


def _named(indexes: list[int], sources: dict[int, tuple[str, NamedBy]]) -> NamedBands:
    names = [sources[index][0] if index in sources else f"band{index}" for index in indexes]
    # A name that two bands claim is used for neither.
    names = [
        name if names.count(name) == 1 else f"band{index}"
        for name, index in zip(names, indexes, strict=True)
    ]
    by = {
        name: sources[index][1]
        for name, index in zip(names, indexes, strict=True)
        if index in sources
    }
    order: NamedBy | None = None
    if set(COLOURS) <= set(names):
        kinds = {by[name] for name in COLOURS}
        order = kinds.pop() if len(kinds) == 1 else "tag"
    return NamedBands(tuple(indexes), tuple(names), order, by.get("nir"))


def _wavelength_um(dataset: DatasetReader, index: int) -> float | None:
    text = dataset.tags(index, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
    try:
        return float(text) if text else None
    except ValueError:
        return None
