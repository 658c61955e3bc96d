"""The content of KML and GML for GDAL, without what would make it open other files.

Text that is not UTF-8, which XML forbids, is rewritten. GML is always held, because GDAL would
write a .gfs file beside it.
"""

from __future__ import annotations

import codecs
import io
import re

from parcels.files.dataset import Dataset
from parcels.files.self_contained import refuse_crs_files, refuse_document_type
from parcels.files.text_encoding import TextDecoder
from parcels.registry.validators import known_encoding

_PROLOG = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"'][^>]*\?>")
_COUNTS = re.compile(rb"\b(numberMatched|numberReturned)\s*=\s*[\"'](\d+)[\"']")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHUNK = 1 << 20
_MAX_BYTES = 512 << 20


def xml_content(dataset: Dataset, encoding: str | None, *, is_gml: bool) -> bytes | None:
    """The content as UTF-8; None where GDAL can open the file itself.

    Args:
        encoding: of the registry entry.

    Raises:
        ValueError: it is too large for that, or one page of a server's answer.
        AddressRefused: it refers to other data.
    """
    with dataset.open() as file:
        head = file.read(_CHUNK)
    _refuse_part(head)
    declared = _PROLOG.match(head.removeprefix(codecs.BOM_UTF8))
    name = known_encoding(declared[1].decode("ascii", "replace")) if declared else "utf-8"
    if name in ("utf-8", "ascii") and not head.startswith(_UTF16) and _is_utf8(dataset):
        refuse_document_type(dataset.path, head)
        if is_gml:
            with dataset.open() as file:
                refuse_crs_files(dataset.path, file)
        return _whole(dataset) if is_gml else None
    whole = _whole(dataset)
    if whole is None:
        raise ValueError("its text is not UTF-8; save it as a GeoPackage")
    content = _as_utf8(whole, name, encoding)
    refuse_document_type(dataset.path, content)
    if is_gml:
        refuse_crs_files(dataset.path, io.BytesIO(content))
    return content


def _is_utf8(dataset: Dataset) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with dataset.open() as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
        except UnicodeDecodeError:
            return False
    return True


def _whole(dataset: Dataset) -> bytes | None:
    """The content; None if it is too large to hold."""
    with dataset.open() as file:
        content = file.read(_MAX_BYTES + 1)
    return content if len(content) <= _MAX_BYTES else None


def _refuse_part(head: bytes) -> None:
    """Refuse one page of a WFS."""
    found = dict(_COUNTS.findall(head))
    total, returned = found.get(b"numberMatched"), found.get(b"numberReturned")
    if total and returned and int(total) > int(returned):
        raise ValueError(
            f"it is cut: it has {int(returned):,} of {int(total):,} lots (numberMatched), so the "
            "others are missing; download all pages"
        )


def _as_utf8(content: bytes, declared: str | None, encoding: str | None) -> bytes:
    if content.startswith(_UTF16):
        content = content.decode("utf-16").encode()
        decoder = TextDecoder("utf-8")
    elif declared in (None, "utf-8", "ascii"):
        decoder = TextDecoder.of_utf8_format(encoding)
    else:
        decoder = TextDecoder(declared)
    body = re.sub(rb"^\s*<\?xml.*?\?>", b"", content.removeprefix(codecs.BOM_UTF8), flags=re.S)
    lines = (decoder.decode(line) or line.decode("utf-8", "replace") for line in body.split(b"\n"))
    return b'<?xml version="1.0" encoding="UTF-8"?>' + "\n".join(lines).encode()
