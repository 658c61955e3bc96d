"""How much coarser the files of a VRT are than the VRT, which shows all of them on one grid.

`gdalbuildvrt` takes the finest pixel size of its files unless it is told otherwise, so a VRT of
0.15 m and 1 m imagery has pixels of 0.15 m everywhere.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from detection.imagery.vrt_check import looks_like_vrt

_SOURCES = ("SimpleSource", "ComplexSource")
_HEAD_BYTES = 4096
# `vrt_check` has refused deeper ones.
_MAX_DEPTH = 5


def coarsest_scale(path: Path, depth: int = 0) -> float:
    """The pixel size of the coarsest file of a VRT in pixels of the VRT, at least 1.

    Args:
        path: any imagery file; 1 of one that is not a VRT. A VRT has passed `vrt_check`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:  # removed meanwhile, which the read of its pixels reports
        return 1.0
    if depth > _MAX_DEPTH or not looks_like_vrt(head):
        return 1.0
    scale = 1.0
    for source in ET.parse(path).getroot().iter():  # noqa: S314 - without entities
        if source.tag in _SOURCES and (name := source.find("SourceFilename")) is not None:
            inner = coarsest_scale(path.parent / (name.text or "").strip(), depth + 1)
            scale = max(scale, _scale(source) * inner)
    return scale


def _scale(source: ET.Element) -> float:
    """How many pixels of the VRT a source's pixel is wide or high, whichever is more."""
    here, there = source.find("SrcRect"), source.find("DstRect")
    if here is None or there is None:
        return 1.0
    sides = [(float(there.get(s, 0)), float(here.get(s, 0))) for s in ("xSize", "ySize")]
    return max((to / of for to, of in sides if of > 0), default=1.0)
