"""What GDAL opens: a path; or the content of an XML file (KML, GML) with text that XML forbids."""

from __future__ import annotations

import codecs
import re

from parcels.files.dataset import Dataset
from parcels.files.text_encoding import TextDecoder
from parcels.registry.validators import known_encoding

_XML = (".kml", ".gml", ".xml")
_PROLOG = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"'][^>]*\?>")
_CHUNK = 1 << 20
_MAX_BYTES = 512 << 20


def gdal_source(dataset: Dataset, encoding: str | None) -> str | bytes:
    """The path for GDAL, or for XML that is not UTF-8 its content as UTF-8.

    Args:
        encoding: of the registry entry.

    Raises:
        ValueError: it is too large for that.
    """
    if dataset.suffix not in _XML:
        return dataset.gdal_path
    with dataset.open() as file:
        content = file.read(_CHUNK)
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
                return dataset.gdal_path
        except UnicodeDecodeError:
            pass  # rewritten below
    with dataset.open() as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError("its text is not UTF-8; save it as a GeoPackage")
    if name in (None, "utf-8", "ascii"):
        return _as_utf8(content, TextDecoder.of_utf8_format(encoding))
    return _as_utf8(content, TextDecoder(name))


def _as_utf8(content: bytes, decoder: TextDecoder) -> bytes:
    body = re.sub(rb"^\s*<\?xml.*?\?>", b"", content.removeprefix(codecs.BOM_UTF8), flags=re.S)
    lines = (decoder.decode(line) or line.decode("utf-8", "replace") for line in body.split(b"\n"))
    return b'<?xml version="1.0" encoding="UTF-8"?>' + "\n".join(lines).encode()
