"""Formats that are not supported, and what to do instead."""

from __future__ import annotations

import re
from pathlib import PurePath

_EXPORT = "export the parcels as a GeoPackage, and set 'path' to it"
_PICTURE = "it is a picture without lots; download the parcels as vector data"
_DRAWING = "it is a CAD drawing, which has lines and no lots with ids; " + (
    "request the parcels as a shapefile or GeoPackage"
)
_ARCHIVE = "it is an archive of another kind than zip; unpack it and set 'path' to the file inside"
_REFERENCE = "it is an ArcGIS or QGIS project that refers to data elsewhere; " + _EXPORT
_TABLE = "it is a spreadsheet without lot lines; download the parcels as vector data"
_ACCESS = "it is a personal geodatabase (Microsoft Access); in ArcGIS or QGIS, " + _EXPORT
_TILES = "its tiles cut and simplify the lots; download the parcels as vector data"
_PART_OF_GEODATABASE = (
    "it is one file of a file geodatabase; set 'path' to the whole folder, which ends with .gdb"
)
_KMZ = "it is a KMZ; rename it to .zip, unpack it, and set 'path' to the .kml inside"
_DOCUMENT = "it is a document; download the parcels as vector data"
_UNFINISHED = "the download is not complete; download it again"

_BY_SUFFIX = {
    (".kmz",): _KMZ,
    (".tif", ".tiff", ".sid", ".ecw", ".jp2", ".img", ".png", ".jpg", ".jpeg", ".gif", ".bmp",
     ".vrt.gz", ".asc", ".nitf"): _PICTURE,
    (".dwg", ".dxf", ".dgn"): _DRAWING,
    (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".zipx"): _ARCHIVE,
    (".lyr", ".lyrx", ".lpk", ".lpkx", ".mxd", ".aprx", ".mpk", ".mpkx", ".ppkx", ".sde", ".qgs",
     ".qgz", ".qlr", ".pmf", ".mapx", ".agsx", ".ags"): _REFERENCE,
    (".xls", ".xlsx", ".xlsm", ".ods", ".numbers"): _TABLE,
    (".mdb", ".accdb"): _ACCESS,
    (".mbtiles", ".pmtiles", ".mvt", ".vtpk", ".tpk", ".tpkx"): _TILES,
    (".gdbtable", ".gdbtablx", ".gdbindexes", ".freelist", ".atx", ".horizon", ".spx"):
        _PART_OF_GEODATABASE,
    (".cdf",): "it is a compressed file geodatabase; uncompress it in ArcGIS (Uncompress File "
        "Geodatabase Data), or " + _EXPORT,
    (".sdc",): "it is Smart Data Compression; in ArcGIS, " + _EXPORT,
    (".pdf", ".doc", ".docx", ".htm", ".html"): _DOCUMENT,
    (".crdownload", ".part", ".partial", ".download"): _UNFINISHED,
    (".gpkg-wal", ".gpkg-shm", ".gpkg-journal"): "set 'path' to the .gpkg file beside it",
    (".zip",): "it is a zip in a zip; unpack it and set 'path' to the inner one",
}  # fmt: skip
_REMEDIES = {suffix: why for suffixes, why in _BY_SUFFIX.items() for suffix in suffixes}
# Files of a shapefile that people name instead of the .shp.
_OF_SHAPEFILE = (
    ".shp.xml", ".dbf", ".shx", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd",
)  # fmt: skip

_WEB_PAGE = "it is a web page, not data; download the file again (the site may want a login first)"
_BY_SIGNATURE = {
    b"version https://git-lfs": "it is a Git LFS pointer, not the data; run: git lfs pull",
    b"%PDF": _DOCUMENT,
    b"Rar!": _ARCHIVE,
    b"7z\xbc\xaf\x27\x1c": _ARCHIVE,
    b"\x1f\x8b": _ARCHIVE,
    b"BZh": _ARCHIVE,
    b"\xfd7zXZ\x00": _ARCHIVE,
    b"\x28\xb5\x2f\xfd": _ARCHIVE,
    b"II*\x00": _PICTURE,
    b"MM\x00*": _PICTURE,
    b"II+\x00": _PICTURE,
    b"\x89PNG": _PICTURE,
    b"\xff\xd8\xff": _PICTURE,
    b"\x00\x00\x00\x0cjP": _PICTURE,
    b"msid": _PICTURE,
    b"AC10": _DRAWING,
    b"AutoCAD Binary DXF": _DRAWING,
    b"\x00\x01\x00\x00Standard": _ACCESS,
    b"\xd0\xcf\x11\xe0": _TABLE,
}
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.I | re.S)


def unsupported(name: str, head: bytes | None = None) -> str | None:
    """Why a file is not supported, and what to do; None if it may be.

    Args:
        name: of the file, with its folders.
        head: its first bytes; None for the name only.
    """
    by_content = None if head is None else _by_content(head)
    if by_content is not None:
        return by_content
    path = PurePath(name)
    lower = path.name.lower()
    if head is not None and path.parent.suffix.lower() == ".gdb":
        return _PART_OF_GEODATABASE
    if lower.endswith(_OF_SHAPEFILE):
        stem = lower.removesuffix(".shp.xml") if lower.endswith(".shp.xml") else path.stem.lower()
        shape = path.name[: len(stem)] + ".shp"
        return f"it is one file of a shapefile; set 'path' to {shape} beside it"
    suffix = path.suffix.lower()
    return None if suffix == ".zip" and head is not None else _REMEDIES.get(suffix)


def _by_content(head: bytes) -> str | None:
    if not head:
        return "it is empty; download it again"
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        return _WEB_PAGE
    found = (why for signature, why in _BY_SIGNATURE.items() if head.startswith(signature))
    return next(found, None)
