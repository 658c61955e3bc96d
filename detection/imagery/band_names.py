"""The name of a band from what a file says of it: description, wavelength or colour tag.

A description is taken word by word, and counts only if nothing in it is unknown: "Band 4 (NIR)"
is near infrared, "NIR mask" is not. Codes such as B08 count where they can mean one band only:
Sentinel-2 pads its numbers with a zero; Pléiades and SPOT begin at B0. Landsat's are ambiguous,
because B4 is red on Landsat 8 and near infrared on Landsat 7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

COLOURS = ("red", "green", "blue")
# The words of a name, joined. Other languages are those of national mapping agencies' files.
_WORDS = {
    "red": "red r rot rouge rojo vermelho rosso rood",
    "green": "green g grün gruen grun vert verde groen",
    "blue": "blue b blau bleu azul blu blauw",
    "nir": "nir n nearir nearinfrared infrared nearinfra nir08 pir procheinfrarouge"
    " infrarougeproche infrarojocercano nahinfrarot nahesinfrarot infrarot vnir",
    "rededge": "rededge re",
    "gray": "gray grey grayscale greyscale pan panchromatic",
    "coastal": "coastal coastalblue coastalaerosol",
    "yellow": "yellow",
    "swir": "swir shortwaveinfrared",
}
_NAMES = {word: name for name, words in _WORDS.items() for word in words.split()}
# Words that say nothing about which band it is.
_NOISE = frozenset(
    {"band", "bands", "channel", "chan", "ch", "layer", "image", "raster", "data", "light"}
    | {"sr", "toa", "boa", "surface", "reflectance", "radiance", "colour", "color"}
    | {"nm", "um", "µm", "dn", "digital", "number", "value", "values", "ms", "multispectral"}
)
_SENTINEL2 = {"02": "blue", "03": "green", "04": "red", "08": "nir"}
_FROM_ZERO = {"0": "blue", "1": "green", "2": "red", "3": "nir"}
_CODE = re.compile(r"(?:^|[^a-z0-9])b(\d\d?)(?![0-9a-z])")
_PLAIN_NUMBER = re.compile(r"(?:\w+[ _-])?b(?:and)?[ _-]?0*(\d+)")
# Nanometres: the bands of common aerial cameras.
_WAVELENGTHS_NM = {
    "blue": (440, 515),
    "green": (520, 600),
    "red": (620, 690),
    "rededge": (695, 750),
    "nir": (760, 900),
}
_TAGS = {
    "red": "red",
    "green": "green",
    "blue": "blue",
    "nir": "nir",
    "rededge": "rededge",
    "coastal": "coastal",
    "yellow": "yellow",
    "swir": "swir",
    "pan": "gray",
}


def names_by_description(descriptions: Sequence[str]) -> list[str | None]:
    """A name for each band, or None where its description does not tell."""
    lowered = [text.strip().lower() for text in descriptions]
    codes = _codes(lowered)
    if codes and all(codes) and set(codes) <= set(_FROM_ZERO) and "0" in codes:
        return [_FROM_ZERO[code] for code in codes if code]
    named = [
        _by_words(text) or _SENTINEL2.get(code or "")
        for text, code in zip(lowered, codes, strict=True)
    ]
    if named.count("nir") < 2:
        return named
    # WorldView has two near infrared bands; the first is the common one.
    pairs = list(zip(named, lowered, strict=True))
    return [None if name == "nir" and _is_later(text) else name for name, text in pairs]


def name_by_wavelength(micrometres: float | None) -> str | None:
    """The band at a central wavelength; None outside those of aerial cameras."""
    if micrometres is None:
        return None
    for name, (low, high) in _WAVELENGTHS_NM.items():
        if low <= 1000 * micrometres <= high:
            return name
    return None


def name_by_tag(colour: str) -> str | None:
    """The band of a GDAL colour interpretation (its name); None if it does not tell."""
    return _TAGS.get(colour)


def has_unknown_numbers(descriptions: Sequence[str]) -> bool:
    """Whether bands are numbered, but not 1, 2, 3, …: then their order is not the usual one."""
    found = [_PLAIN_NUMBER.fullmatch(text.strip().lower()) for text in descriptions]
    numbers = [int(match[1]) for match in found if match]
    return bool(numbers) and numbers != list(range(1, len(descriptions) + 1))


def says_something(description: str) -> bool:
    """Whether a description has a word beside "band" and numbers: such a band is not unmarked."""
    parts = re.findall(r"[^\W\d_]+", description.lower())
    return any(part not in _NOISE and len(part) > 1 for part in parts)


def _codes(lowered: Sequence[str]) -> list[str | None]:
    found = [_CODE.search(text) for text in lowered]
    return [match[1] if match else None for match in found]


def _by_words(text: str) -> str | None:
    wavelength = re.search(r"(\d{3,4})(?:\.\d+)?\s*nm\b", text)
    parts = re.findall(r"[^\W\d_]+\d*|\d+", text)
    words = [part for part in parts if not part.isdigit() and part not in _NOISE]
    joined = "".join(words)
    name = _NAMES.get(joined) or _NAMES.get(joined.rstrip("0123456789"))
    if name is None and not words and wavelength:
        return name_by_wavelength(float(wavelength[1]) / 1000)
    # "R" and "G" are colours only on their own; "b4" is a number, not blue.
    if len(joined.rstrip("0123456789")) == 1 and joined[-1].isdigit():
        return None
    return name


def _is_later(text: str) -> bool:
    """Whether a band's name ends in a number above 1."""
    number = re.search(r"(\d+)\W*$", text)
    return number is not None and int(number[1]) > 1
