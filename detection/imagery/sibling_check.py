"""Refuses imagery whose files beside it would make GDAL open something else.

GDAL opens overviews (.ovr), masks (.msk) and metadata beside a file by itself, of any format and
wherever they refer to, and follows links.
"""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree as ET

from parcels.crs_definition import names_paths

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # with "+": BigTIFF
HFA_START = b"EHFA_HEADER_TAG"
# What GDAL's drivers for TIFF, JPEG 2000, .img and VRT look for, by the file's name or its stem.
_READ = re.compile(
    r"\.(ovr|msk|aux|rrd|ige|xml|tfw|tifw|tiffw|wld|jgw|j2w|jp2w|igw|imgw|vrtw|tab|prj|gcp|att|rpb"
    r"|rpc|imd|pvl|eph|geo|hdr|ers)$|_(rpc|rpb|metadata|mtl)\.(txt|xml)$",
    re.IGNORECASE,
)
_PIXELS = (".ovr", ".msk", ".rrd")
_MAX_XML_BYTES = 64 * 2**20
_PATH = re.compile(r"\s*(\+|[/~\\]|file:|https?:|init\b)")


class SiblingRefused(Exception):
    """A file beside the imagery refers to other data, or is no file."""


def check_siblings(path: Path) -> list[Path]:
    """Check what GDAL would open beside a file.

    Returns:
        The files with pixels among them, whose own metadata the caller checks.

    Raises:
        SiblingRefused: with the file, and what to do.
    """
    found = [path.parent / name for name in _beside(path)]
    for sibling in found:
        _refuse_link(sibling, path)
    for sibling in found:
        if sibling.suffix.lower() == ".xml":
            _check_xml(sibling, path)
    return [sibling for sibling in found if _has_pixels(sibling)]


def _beside(path: Path) -> list[str]:
    folder = path.parent
    names = _by_start(str(folder), folder.stat().st_mtime_ns)
    stem = path.stem.casefold()
    start = stem.split(".")[0].split("_")[0]
    return [
        name
        for name in names.get(start, ())
        if name != path.name
        and name.casefold().startswith(stem)
        and _is_read(name[len(stem) :], path.suffix)
    ]


def _is_read(ending: str, suffix: str) -> bool:
    """Whether GDAL looks for a file with this ending, behind the stem, for a file of a suffix."""
    if ending.casefold().startswith(suffix.casefold()):
        ending = ending[len(suffix) :]
    return _READ.match(ending) is not None or _READ.match(_last_suffix(ending)) is not None


def _last_suffix(ending: str) -> str:
    # Such as .ovr.msk: each part is looked for beside the part before it.
    parts = ending.split(".")
    known = len(parts) > 2 and all(_READ.match(f".{part}") for part in parts[1:])
    return f".{parts[-1]}" if known else ""


@lru_cache(maxsize=16)
def _by_start(folder: str, _changed_ns: int) -> dict[str, list[str]]:
    """The names in a folder by what they start with, so that large folders are searched once."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            start = entry.name.casefold().split(".")[0].split("_")[0]
            found.setdefault(start, []).append(entry.name)
    return found


def _refuse_link(sibling: Path, path: Path) -> None:
    mode = sibling.lstat().st_mode
    if stat.S_ISLNK(mode):
        homes = (path.parent.resolve(), path.resolve().parent)
        if sibling.resolve().parent not in homes:
            raise SiblingRefused(
                f"{sibling.name} beside it is a link to another folder; copy that file here, or "
                "remove the link"
            )
        if not sibling.exists():
            return
        mode = sibling.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SiblingRefused(f"{sibling.name} beside it is a pipe or a device; remove it")


def _has_pixels(sibling: Path) -> bool:
    if not sibling.is_file():
        return False
    with sibling.open("rb") as file:
        head = file.read(64)
    is_pixels = head.startswith((*TIFF_STARTS, HFA_START))
    if sibling.suffix.lower() in _PIXELS and not is_pixels and head:
        raise SiblingRefused(
            f"{sibling.name} beside it is not the overviews or mask of a file; delete it, and make "
            "overviews again: gdaladdo -ro"
        )
    return is_pixels


def _check_xml(sibling: Path, path: Path) -> None:
    if not sibling.is_file():
        return
    refused = SiblingRefused(f"{sibling.name} beside it refers to other data; delete that file")
    if sibling.stat().st_size > _MAX_XML_BYTES:
        raise SiblingRefused(f"{sibling.name} beside it is too large to be metadata; delete it")
    content = sibling.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"<VRTDataset" in content:
        raise refused
    if not sibling.name.casefold().endswith(".aux.xml"):
        return  # of another program: GDAL takes dates and coefficients from it
    try:
        root = ET.fromstring(content)  # noqa: S314 - without entities
    except ET.ParseError:
        return  # GDAL does not read it either
    for element in root.iter():
        if element.tag == "MDI" and "OVERVIEW" in element.get("key", "").upper():
            raise SiblingRefused(
                f"its metadata (OVERVIEW_FILE) refers to another file; save the pixels themselves: "
                f"gdal_translate -of COG {path.name} new.tif"
            )
        for text in (element.text if element.tag == "SRS" else None, element.get("Projection")):
            if text and (_PATH.match(text) or names_paths(text)):
                raise refused
