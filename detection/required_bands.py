"""Whether a segmenter can use the bands of an imagery source, and what it misses without some."""

from __future__ import annotations

from detection.errors import ImageryError
from detection.imagery.interface import ImagerySource

# A remedy of a county's entry; where there is none, callers replace it.
BANDS_REMEDY = (
    "Name the bands from the first in the county's `imagery:`, for example bands: "
    "[red, green, blue, nir]"
)
_RGB = frozenset({"red", "green", "blue"})
# By the beginning of the segmenter's name: any one of these sets is enough.
_NEEDED = {
    "spectral": (frozenset({"red", "nir"}), _RGB),
    "landcover": (_RGB,),
    "sam3": (_RGB,),
}


def check_bands(segmenter: str, imagery: ImagerySource) -> None:
    """Refuse imagery that every chip of would fail.

    Nothing is known of a server before its first answer, so it is not refused here.

    Args:
        segmenter: its name, with or without its version.

    Raises:
        ImageryError: bands are missing, or pixels are not of 8 bits; with what to write.
    """
    bands = _bands(imagery)
    needed = next((sets for key, sets in _NEEDED.items() if segmenter.startswith(key)), ())
    if not bands or not needed:
        return
    if not any(names <= set(bands) for names in needed):
        choices = " or ".join(", ".join(sorted(names)) for names in needed)
        remedy = (
            "Gray imagery has no colours: use other imagery" if bands == ("gray",) else BANDS_REMEDY
        )
        raise ImageryError(
            f"{segmenter} needs the bands {choices}, but the imagery has {', '.join(bands)}. "
            f"{remedy}"
        )
    dtype = getattr(imagery, "dtype", "uint8")
    if segmenter.startswith(("sam3", "landcover")) and dtype != "uint8":
        raise ImageryError(
            f"{segmenter} needs 8 bit imagery, but this is {dtype}. Convert it with "
            "`gdal_translate -ot Byte -scale`, or use a service's 8 bit product"
        )


def band_notes(segmenter: str, imagery: ImagerySource) -> tuple[str, ...]:
    """What results are worth without near infrared, for a segmenter that uses it."""
    bands = _bands(imagery)
    if not segmenter.startswith("spectral") or not bands or "nir" in bands:
        return ()
    return (
        "Without near infrared, areas of lawn and tree by spectral are not usable and not "
        "comparable with others: on 40 tiles of NAIP it finds 38 % of the lawn that it finds with "
        "near infrared, and a fifth as much elsewhere.",
    )


def _bands(imagery: ImagerySource) -> tuple[str, ...]:
    return tuple(getattr(imagery, "bands", ()))
