"""Decides for a whole mosaic which band is what: from marks first, then from pixels.

Files of one flight differ in their marks, and a tile of water looks like any mask; so samples of
many files are judged together, and all files get the same answer. In doubt a band is not near
infrared, because a wrong one gives plausible areas that are false. `bands:` in the registry
entry overrules everything here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.io import DatasetReader

from detection.errors import ImageryError
from detection.imagery.band_evidence import resembles, varies
from detection.imagery.band_layout import BandLayout, NamedBands, declared_bands, marked_bands
from detection.imagery.band_names import COLOURS
from detection.imagery.band_order import is_gray, likely_order
from detection.imagery.band_samples import BandSample, read_samples, spread

SET_BANDS = "`imagery: {bands: […]}`"


@dataclass(frozen=True, slots=True)
class BandChoice:
    """The bands of each file of a mosaic, by its path, and what was decided, a sentence each."""

    bands: dict[str, NamedBands]
    notes: tuple[str, ...]


def choose_bands(
    layouts: dict[str, BandLayout],
    declared: tuple[str, ...] | None,
    open_file: Callable[[str], DatasetReader],
) -> BandChoice:
    """Name the bands of all files of a mosaic.

    Args:
        layouts: of each file, by path.
        declared: the names in the registry entry; None to decide.
        open_file: opens a file of these.

    Raises:
        ImageryError: `declared` does not fit a file, or the colours seem to be in another order.
    """
    if declared is not None:
        named = {path: declared_bands(layout, declared, path) for path, layout in layouts.items()}
        said = f"The bands are {', '.join(declared)}, as declared by `bands:` or a STAC item."
        return BandChoice(named, (said,))
    marked = {layout: marked_bands(layout) for layout in set(layouts.values())}
    named = {path: marked[layout] for path, layout in layouts.items()}
    samples = _samples(named, open_file)
    four = [sample for sample in samples if len(sample.pixels) == 4]
    peak = _peak(four, layouts) if four else 1.0
    problem = varies(four, peak)
    _refuse_other_order(named, samples, 3 if problem else 4)
    problem = problem or resembles(four, peak)
    notes: list[str] = []
    named = _decide_near_infrared(named, layouts, problem, notes)
    named = _decide_gray(named, samples, notes)
    named = _in_one_order(named)
    notes += _how_named(named, layouts)
    return BandChoice(named, tuple(dict.fromkeys(notes)))


def _samples(
    named: dict[str, NamedBands],
    open_file: Callable[[str], DatasetReader],
) -> list[BandSample]:
    """Samples of files with red, green, blue and perhaps near infrared, in that order."""
    usable = [path for path, bands in named.items() if bands.order_by is not None]
    chosen = spread(usable)
    samples = []
    for path in chosen:
        bands = named[path]
        wanted = [name for name in (*COLOURS, "nir") if name in bands.names]
        indexes = [bands.indexes[bands.names.index(name)] for name in wanted]
        samples += read_samples(path, indexes, len(chosen), open_file)
    return samples


def _refuse_other_order(
    named: dict[str, NamedBands], samples: Sequence[BandSample], most: int
) -> None:
    """Refuse colours that seem to be in another order, unless descriptions name them.

    Args:
        most: how many bands to look at: without the fourth if it is a mask.

    Raises:
        ImageryError: they do; the message says what to write.
    """
    doubtful = [s for s in samples if named[s.path].order_by != "description"]
    for count in (3, 4):
        alike = [
            BandSample(sample.path, sample.pixels[:count], sample.valid)
            for sample in doubtful
            if min(len(sample.pixels), most) == count
        ]
        order = likely_order(alike)
        if order is None:
            continue
        names = named[alike[0].path].names[:count]
        seem = (
            f"look like {', '.join(order)}" if len(order) == count else "are in no order known here"
        )
        written = order if len(order) == count else ("…",)
        raise ImageryError(
            f"{alike[0].path}: its bands would be taken for {', '.join(names)}, but their "
            f"pixels {seem}. Name them from the first in {SET_BANDS}: bands: "
            f"[{', '.join(written)}] if the pixels are right, bands: [{', '.join(names)}] "
            "if they are not"
        )


def _decide_near_infrared(
    named: dict[str, NamedBands],
    layouts: dict[str, BandLayout],
    problem: str,
    notes: list[str],
) -> dict[str, NamedBands]:
    """Keep near infrared in all files, or in none."""
    place = {path: b.indexes[b.names.index("nir")] for path, b in named.items() if "nir" in b.names}
    if not place:
        return named
    first, index = next(iter(place.items()))
    is_marked_alpha = any(layouts[path].is_alpha(index) for path, index in place.items())
    if not problem:
        if is_marked_alpha:
            notes.append(
                f"Band {index} is marked as alpha, but it is taken for near infrared: it varies "
                "like imagery, and no mask does."
            )
        return named
    use = (
        "It is the mask that it is marked as."
        if is_marked_alpha
        else f"If it is, write bands: [{', '.join(named[first].names)}] in {SET_BANDS}; if it is "
        f"a mask, mark it: gdal_edit.py -colorinterp_{index} alpha."
    )
    notes.append(f"Band {index} is not taken for near infrared: it {problem}. {use}")
    return {path: bands.without("nir") for path, bands in named.items()}


def _decide_gray(
    named: dict[str, NamedBands], samples: Sequence[BandSample], notes: list[str]
) -> dict[str, NamedBands]:
    """Call one band gray where red, green and blue are the same and there is nothing else."""
    without = [s for s in samples if "nir" not in named[s.path].names]
    if not is_gray(without):
        return named
    notes.append("Red, green and blue are the same in every pixel: the imagery is gray.")
    gray = {}
    for path, bands in named.items():
        is_colour = set(COLOURS) <= set(bands.names) and "nir" not in bands.names
        gray[path] = NamedBands(bands.indexes[:1], ("gray",)) if is_colour else bands
    return gray


def _in_one_order(named: dict[str, NamedBands]) -> dict[str, NamedBands]:
    """The bands of every file in the order of the first one's, where they are the same."""
    first = next(iter(named.values()))
    ordered = {}
    for path, bands in named.items():
        ordered[path] = bands
        if bands.names != first.names and sorted(bands.names) == sorted(first.names):
            index = dict(zip(bands.names, bands.indexes, strict=True))
            indexes = tuple(index[name] for name in first.names)
            ordered[path] = NamedBands(indexes, first.names, bands.order_by, bands.nir_by)
    return ordered


def _how_named(named: dict[str, NamedBands], layouts: dict[str, BandLayout]) -> list[str]:
    """Sentences on names that are only a convention, on unnamed bands and on scaled values."""
    notes = []
    values = list(named.values())
    if any(bands.order_by == "convention" for bands in values):
        names = next(b.names for b in values if b.order_by == "convention")
        notes.append(
            f"The files do not name their bands: taken for {', '.join(names)}, the usual order."
        )
    elif any(bands.nir_by == "convention" for bands in values):
        notes.append("The band after red, green and blue is taken for near infrared.")
    unknown = sorted({n for bands in values for n in bands.names if n.startswith("band")})
    if unknown:
        notes.append(
            f"Nothing tells what {', '.join(unknown)} shows: it is not used. Name all bands from "
            f"the first in {SET_BANDS} if it is red, green, blue or near infrared."
        )
    if any(layout.is_palette for layout in layouts.values()):
        notes.append("The files' palette is expanded to red, green and blue.")
    scaled = {
        (scale, offset)
        for path, bands in named.items()
        for scale, offset in zip(layouts[path].scales, layouts[path].offsets, strict=True)
        if (scale, offset) != (1.0, 0.0) and bands.indexes
    }
    if scaled:
        pairs = ", ".join(f"{scale:g} and {offset:g}" for scale, offset in sorted(scaled)[:4])
        notes.append(f"The files' scale and offset are applied: {pairs}.")
    return notes


def _peak(samples: Sequence[BandSample], layouts: dict[str, BandLayout]) -> float:
    """The greatest value of the fourth band, or of 8 bits."""
    if layouts[samples[0].path].dtypes[0] == "uint8":
        return float(np.iinfo(np.uint8).max)
    return max(
        (float(sample.pixels[3][sample.valid].max()) for sample in samples if sample.valid.any()),
        default=1.0,
    )
