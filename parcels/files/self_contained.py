"""Refuses vector files that refer to other data, as readers would open any path or URL (SSRF)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from parcels.crs_definition import names_paths
from parcels.errors import AddressRefused
from parcels.files.zip_archive import names_in_zip, open_in_zip

# Signatures of formats that refer to other data: OGR VRT, OGR WFS, GDAL pipelines.
_REFERENCES = (b"<ogrvrt", b"<ogrwfs", b"gdal_streamed_alg")
# GDAL identifies a format by the first 1,024 bytes, or a few more for JSON.
_HEAD_BYTES = 16 * 1024
# A MapInfo table that is a list of other tables, or that is on a server.
_MAPINFO = re.compile(
    rb"open\s+table|create\s+view|isseamless\W*true|type\s+(?!native\b|dbf\b)\w+", re.IGNORECASE
)
# CRS names that PROJ takes for files, and those too long to be names.
_SRS_FILE = re.compile(
    rb"srsName\s*=\s*([\"'])(?:(?!\1|[<>]).)*?(?:(?:init|proj|grids)\s*=|&\#|[^\"'<>]{1000})",
    re.IGNORECASE | re.DOTALL,
)
_CHUNK, _OVERLAP = 1 << 20, 1 << 14


def refuse_external_references(path: Path) -> None:
    """Refuse a file that refers to other data.

    The file name does not matter: GDAL identifies the format by the content.

    Raises:
        AddressRefused: it refers to other data.
    """
    if path.is_file():
        with path.open("rb") as file:
            _refuse_head(path, file)


def refuse_references_in_zip(path: Path) -> None:
    """Refuse a zip with a file that refers to other data.

    Raises:
        AddressRefused: see there.
        zipfile.BadZipFile, zlib.error, EOFError: it is damaged.
    """
    for name in names_in_zip(path):
        with open_in_zip(path, name) as file:
            _refuse_head(path, file)


def _refuse_head(path: Path, file: IO[bytes]) -> None:
    head = file.read(_HEAD_BYTES).lower()
    if any(signature in head for signature in _REFERENCES):
        raise AddressRefused(
            f"{path}: refers to other data; save the parcels themselves, for example as "
            "a GeoPackage, and set 'path' to that file"
        )


def refuse_mapinfo_references(path: Path, content: bytes) -> None:
    """Refuse a MapInfo .tab that opens other tables.

    Args:
        path: for the message.

    Raises:
        AddressRefused: it does.
    """
    # Column names are words of the file's own.
    head = re.split(rb"\n\s*fields\b", content, maxsplit=1, flags=re.IGNORECASE)[0]
    rest = content[len(head) :]
    if _MAPINFO.search(head) or re.search(rb"isseamless\W*true", rest, re.IGNORECASE):
        raise AddressRefused(
            f"{path}: is a MapInfo view, seamless or linked table, which opens other tables; save "
            "the parcels as a native table or a GeoPackage, and set 'path' to that"
        )


def refuse_document_type(path: Path, head: bytes) -> None:
    """Refuse XML whose document type may define what files and addresses stand for.

    Args:
        head: its start.

    Raises:
        AddressRefused: it has one.
    """
    before_root = re.split(rb"<\w", head, maxsplit=1)[0]
    if b"<!doctype" in before_root.lower():
        raise AddressRefused(
            f"{path}: its XML has a DOCTYPE, which may refer to other data; delete that line, or "
            "save it as a GeoPackage and set 'path' to that file"
        )


def refuse_grid_paths(path: Path, head: bytes) -> None:
    """Refuse a file whose CRS, somewhere in these bytes, names its grids by a path.

    Raises:
        AddressRefused: it does.
    """
    # Also as UTF-16, as geodatabases have it.
    if names_paths(head.replace(b"\0", b"").decode("latin-1")):
        raise AddressRefused(
            f"{path}: its CRS names files to open; set 'crs:' of the county in the registry, and "
            "delete the CRS from the file"
        )


def refuse_crs_files(path: Path, file: IO[bytes]) -> None:
    """Refuse GML with a CRS whose name makes PROJ open a file.

    Raises:
        AddressRefused: it has one.
    """
    for part in _parts(file):
        if _SRS_FILE.search(part):
            raise AddressRefused(
                f"{path}: an srsName in it is not the name of a CRS, such as "
                "urn:ogc:def:crs:EPSG::4326; save it as a GeoPackage, and set 'path' to that file"
            )


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    """The content in parts that overlap."""
    before = b""
    while chunk := file.read(_CHUNK):
        yield before + chunk
        before = chunk[-_OVERLAP:]
