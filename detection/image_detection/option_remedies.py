"""Advice about a county's entry in the registry, said for an image that has no entry.

Imagery of counties and single images are read by the same code, whose messages name the entry's
`imagery:`. Here they name the options of `lotline detect`, and arguments of `open_image`, instead.
"""

from __future__ import annotations

import re

from detection.imagery.band_choice import SET_BANDS
from detection.imagery.georeference import REGISTRY_REMEDY
from detection.required_bands import BANDS_REMEDY

_REMEDIES = {
    REGISTRY_REMEDY: "or state it with --crs EPSG:…",
    BANDS_REMEDY: "Name the bands from the first, for example --bands red,green,blue,nir",
    f" in {SET_BANDS}": " with --bands",
    "`imagery: {bands: …}`": "--bands",
    "set `imagery: {nodata: none}`": "save the image without it: gdal_translate -mask none",
    "unpack it, and set `path:` to the folder": "unpack it, and name the folder",
    "unpack it, and set `path:` to what it holds": "unpack it, and name what it holds",
    "set `path:` to": "name",
}
_BAND_LIST = re.compile(r"bands: \[([a-z0-9, ]+)\]")


def for_options(text: str) -> str:
    """A message with the remedies of `lotline detect` in place of those of a county's entry."""
    for of_entry, of_options in _REMEDIES.items():
        text = text.replace(of_entry, of_options)
    return _BAND_LIST.sub(lambda found: f"--bands {found[1].replace(', ', ',')}", text)
