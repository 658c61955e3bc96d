"""What GDAL opens: a path, or the content of an XML file.

That is KML or GML with text that is not UTF-8, which XML forbids; and every GML, because GDAL would
write a .gfs file beside it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from parcels.files.dataset import Dataset
from parcels.files.text_encoding import TextDecoder
from parcels.registry.validators import known_encoding

_XML = (".kml", ".gml", ".xml")
_PROLOG = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"'][^>]*\?>")
_COUNTS = re.compile(rb"\b(numberMatched|numberReturned)\s*=\s*[\"'](\d+)[\"']")
_CHUNK = 1 << 20
_MAX_BYTES = 512 << 20


def gdal_source(dataset: Dataset, encoding: str | None) -> str | bytes:
    """The path for GDAL, or the content of XML, as UTF-8.

    Args:
        encoding: of the registry entry.

    Raises:
        ValueError: it is too large for that, or one page of a server's answer.
    """
    if dataset.suffix not in _XML:
        return dataset.gdal_path
    with dataset.open() as file:
        content = file.read(_CHUNK)
        _refuse_part(content)
        declared = _PROLOG.match(content.removeprefix(codecs.BOM_UTF8))
        name = known_encoding(declared[1].decode("ascii", "replace")) if declared else "utf-8"
        # Text in UTF-16 is left to the XML parser.
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return dataset.gdal_path
        is_utf8 = codecs.getincrementaldecoder("utf-8")()
        try:
            chunk = content
            while chunk:
                is_utf8.decode(chunk)
                chunk = file.read(_CHUNK)
            if name in ("utf-8", "ascii"):
                return _content(dataset) or dataset.gdal_path
        except UnicodeDecodeError:
            pass  # rewritten below
    whole = _content(dataset, of=_XML)
    if whole is None:
        raise ValueError("its text is not UTF-8; save it as a GeoPackage")
    if name in (None, "utf-8", "ascii"):
        return _as_utf8(whole, TextDecoder.of_utf8_format(encoding))
    return _as_utf8(whole, TextDecoder(name))


def _content(dataset: Dataset, of: Sequence[str] = (".gml",)) -> bytes | None:
    """The content of a file of these suffixes; None if it is too large to hold."""
    if dataset.suffix not in of:
        return None
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


def _as_utf8(content: bytes, decoder: TextDecoder) -> bytes:
    body = re.sub(rb"^\s*<\?xml.*?\?>", b"", content.removeprefix(codecs.BOM_UTF8), flags=re.S)
    lines = (decoder.decode(line) or line.decode("utf-8", "replace") for line in body.split(b"\n"))
    return b'<?xml version="1.0" encoding="UTF-8"?>' + "\n".join(lines).encode()
