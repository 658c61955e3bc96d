"""Accepts a GDAL VRT only if it is a plain list of files in its own folder.

A VRT may name any file or address, run Python, compute bands, and warp. Only elements whose
meaning is known here pass: a mosaic as gdalbuildvrt and gdal_translate write it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

_MAX_VRT_BYTES = 64 * 1024 * 1024
_MAX_DEPTH = 4
_ROOT = b"<VRTDataset"
_ELEMENTS = frozenset(
    """
    VRTDataset SRS GeoTransform Metadata MDI VRTRasterBand Description ColorInterp NoDataValue
    HideNoDataValue UnitType Offset Scale CategoryNames Category ColorTable Entry MaskBand
    BlockXSize BlockYSize Overview OverviewList Histograms HistItem HistMin HistMax BucketCount
    IncludeOutOfRange Approximate HistCounts SimpleSource ComplexSource SourceFilename
    SourceBand SourceProperties SrcRect DstRect NODATA UseMaskBand ScaleOffset ScaleRatio LUT
    ColorTableComponent Exponent SrcMin SrcMax DstMin DstMax Clamp GCPList GCP
    """.split()  # noqa: SIM905 - a list of a name per line would be long
)
# Other domains can hold sources, or name files (OVERVIEWS, GEOLOCATION, vrt_sources).
_METADATA_DOMAINS = frozenset(
    ("", "IMAGE_STRUCTURE", "RPC", "COLOR_PROFILE", "EXIF", "TIFF", "xml:XMP", "xml:ESRI")
)
_SAVE_IT = "save the pixels themselves: gdal_translate -of COG {name} new.tif"


class VrtRefused(Exception):
    """The VRT is not a plain mosaic of files in its folder."""


def looks_like_vrt(head: bytes) -> bool:
    """Whether GDAL would take a file that starts so for a VRT."""
    return _ROOT in head


def check_vrt(path: Path) -> list[Path]:
    """The files that a VRT consists of, those of VRTs inside it included, each once.

    Raises:
        VrtRefused: it is not a plain mosaic, or names a file outside of its folder, an address,
            a missing file or itself.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - as GDAL resolves, symlinks kept
    return list(dict.fromkeys(_sources(path, path.parent, (path,))))


def _sources(path: Path, folder: Path, parents: tuple[Path, ...]) -> Iterator[Path]:
    root = _parse(path)
    for element in root.iter():
        _check_element(path, element)
    for name in root.iter("SourceFilename"):
        source = _source(path, folder, name)
        if not _is_vrt(source):
            yield source
        elif source in parents or len(parents) >= _MAX_DEPTH:
            raise VrtRefused(f"its sources go in a circle, or too deep, at {source.name}")
        else:
            yield from _sources(source, folder, (*parents, source))


def _parse(path: Path) -> ET.Element:
    if path.stat().st_size > _MAX_VRT_BYTES:
        raise VrtRefused(f"the VRT is larger than {_MAX_VRT_BYTES // 2**20} MiB")
    content = path.read_bytes()
    if b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise VrtRefused(f"it has a DOCTYPE or entities; {_SAVE_IT.format(name=path.name)}")
    try:
        root = ET.fromstring(content)  # noqa: S314 - without entities
    except ET.ParseError as error:
        raise VrtRefused(f"it is not valid XML: {error}") from error
    if root.tag != "VRTDataset":
        raise VrtRefused("it is not a VRT of a raster")
    return root


def _check_element(path: Path, element: ET.Element) -> None:
    save_it = _SAVE_IT.format(name=path.name)
    tag, kind = element.tag, element.get("subClass")
    if kind is not None:
        raise VrtRefused(f"a VRT with {kind} is not read; {save_it}")
    if tag not in _ELEMENTS:
        raise VrtRefused(f"a VRT with <{tag}> is not read; {save_it}")
    if tag == "Metadata" and element.get("domain", "") not in _METADATA_DOMAINS:
        raise VrtRefused(f"a VRT with metadata of {element.get('domain')} is not read; {save_it}")
    if tag == "MDI" and element.get("key") == "OVERVIEW_FILE":
        raise VrtRefused(f"a VRT with OVERVIEW_FILE is not read; {save_it}")


def _source(vrt: Path, folder: Path, element: ET.Element) -> Path:
    text = (element.text or "").strip()
    is_relative = element.get("relativeToVRT", "0") == "1"
    if not text or "\0" in text or (not is_relative and not text.startswith("/")):
        raise VrtRefused(
            f"it names {text!r}, which is not a file in its folder; make the VRT in the folder of "
            "its files: gdalbuildvrt mosaic.vrt *.tif"
        )
    source = Path(os.path.abspath(vrt.parent / text))  # noqa: PTH100 - removes ".." as text
    if not source.is_relative_to(folder) or "/vsi" in text.replace("//", "/"):
        raise VrtRefused(
            f"it names {text}, outside of its folder; move the VRT to a folder that holds all its "
            "files, or set `path:` to the files (a folder or a glob)"
        )
    if not source.is_file():
        raise VrtRefused(f"it names {text}, which does not exist; make the VRT again")
    return source


def _is_vrt(path: Path) -> bool:
    with path.open("rb") as file:
        return looks_like_vrt(file.read(4096)) or path.suffix.lower() == ".vrt"
