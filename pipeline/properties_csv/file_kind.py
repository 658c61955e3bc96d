"""Recognizes files that are not a CSV: workbooks, web pages, archives, other data."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import IO

# What a file's first bytes are, apart from zip archives.
_SIGNATURES = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls, or with a password)"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\xfd7zXZ\x00", "a compressed file (xz)"),
    (b"\x28\xb5\x2f\xfd", "a compressed file (zstd)"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)"),
    (b"Rar!", "an archive (rar)"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "a database (SQLite or GeoPackage)"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x00\x00\x27\x0a", "a shapefile"),
    (b"MIME-Version:", "a web page (MHTML)"),
)
_HTML = re.compile(
    r"<(?:!--.*?-->\s*<)*(?:!doctype html|html|head|body|table|meta|style|div)\b",
    re.IGNORECASE | re.DOTALL,
)
_JSON = re.compile(r"[\[{]\s*[\"\[{\]}]")
_SYLK = re.compile(r"ID;P\w*(?:;[NE])*\s*[\r\n]+[BCFOP];")
_DIF = re.compile(r"TABLE\s*[\r\n]+0,1")
# A zip archive's member -> what the archive is.
_MEMBERS = (
    (re.compile(r"xl/workbook\.(?:xml|bin)"), "an Excel workbook (.xlsx)"),
    (re.compile(r"Index/.*\.iwa|Index\.zip|index\.apxl"), "a Numbers document"),
    (re.compile(r"doc\.kml"), "a KMZ file"),
    (re.compile(r"content\.xml"), "an OpenDocument spreadsheet (.ods)"),
    (re.compile(r"word/.*"), "a Word document"),
)
_MAX_CONTROL_FRACTION = 0.05
# NUL, which a row reports, and the end mark of MS-DOS.
_NOT_BINARY = b"\0\x1a"


def other_kind(path: Path, file: IO[bytes], head: bytes) -> str | None:
    """What the file is if it is not text with rows, such as "an Excel workbook (.xlsx)".

    Args:
        file: open at any position; moved.
        head: its first bytes.
    """
    if not head.strip(b"\0"):
        return "a file of NUL bytes"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(file)
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    return _kind_of_text(_as_text(head)) or _kind_of_binary(path, head)


def _kind_of_zip(file: IO[bytes]) -> str:
    # A lazy import: few files are archives.
    import zipfile

    try:
        names = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a damaged workbook or archive (zip)"
    for pattern, kind in _MEMBERS:
        if any(map(pattern.fullmatch, names)):
            return kind
    return "an archive (zip)"


def _as_text(head: bytes) -> str:
    """The head for searching: ASCII is right in whatever encoding."""
    return head.replace(b"\0", b"").decode("latin-1").lstrip("\xef\xbb\xbf\xff\xfe \t\r\n")


def _kind_of_text(text: str) -> str | None:
    if _HTML.match(text):
        return "a web page (HTML), whatever its name"
    if text.startswith("<?xml"):
        is_excel = "office:spreadsheet" in text or "Excel.Sheet" in text
        return "an Excel workbook (XML)" if is_excel else "an XML document"
    if text.startswith("<kml"):
        return "a KML file"
    if _JSON.match(text):
        return "a JSON document"
    if _SYLK.match(text):
        return "an Excel workbook (SYLK)"
    return "an Excel workbook (DIF)" if _DIF.match(text) else None


def _kind_of_binary(path: Path, head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    controls = sum(byte < 9 or 13 < byte < 32 for byte in head if byte not in _NOT_BINARY)
    if controls <= _MAX_CONTROL_FRACTION * len(head):
        return None
    return f"binary data ({path.suffix or 'without a suffix'})"
