"""Bytes of text values -> text: by the declared encoding, else UTF-8, else Windows-1252.

Each value is decoded alone, so that the result does not depend on how the rows are batched, and a
bad byte affects only its own row.
"""

from __future__ import annotations

import re

from parcels.registry.validators import known_encoding
from parcels.untrusted import storable_text

# The language driver (byte 29 of a .dbf) of a text that is not UTF-8; others are Windows-1252.
_DRIVERS_OF = {
    "cp437": (0x01, 0x09, 0x0B, 0x0D, 0x0F, 0x11, 0x15, 0x18, 0x19, 0x1B),
    "cp737": (0x6A, 0x86),
    "cp850": (0x02, 0x0A, 0x0E, 0x10, 0x12, 0x14, 0x16, 0x1A, 0x1D, 0x25, 0x37),
    "cp852": (0x1F, 0x22, 0x23, 0x40, 0x64, 0x87), "cp857": (0x6B, 0x88),
    "cp860": (0x24,), "cp861": (0x67,), "cp863": (0x1C, 0x6C), "cp865": (0x08, 0x17, 0x66),
    "cp866": (0x26, 0x65), "cp874": (0x50, 0x7C), "cp932": (0x13, 0x7B), "gbk": (0x4D, 0x7A),
    "cp949": (0x4E, 0x79), "big5": (0x4F, 0x78), "cp1250": (0xC8,), "cp1251": (0xC9,),
    "cp1253": (0xCB,), "cp1254": (0xCA,), "cp1255": (0x7D,), "cp1256": (0x7E,),
    "cp1257": (0xCC,), "mac_roman": (0x04,), "mac_cyrillic": (0x96,), "mac_greek": (0x98,),
    "mac_latin2": (0x97,),
}  # fmt: skip
_LANGUAGE_DRIVERS = {driver: name for name, drivers in _DRIVERS_OF.items() for driver in drivers}
_WINDOWS = "cp1252"
# A .cpg may name the language driver instead.
_LDID = re.compile(r"LDID/(\d{1,3})", re.IGNORECASE | re.ASCII)


class TextDecoder:
    """Decodes the values of text columns.

    Args:
        declared: the standard name of the encoding; None detects it.
        legacy: the encoding of a value that is not UTF-8, if none is declared.

    Attributes:
        declared, legacy: see above.
        undecodable: number of values so far that are not valid in the encoding. Those that are not
            valid UTF-8 are read as `legacy`, the others are None.
        rounded: number of floats so far that are too large to be exact; they are None.
    """

    def __init__(self, declared: str | None = None, legacy: str = _WINDOWS) -> None:
        self.declared = declared
        self.legacy = legacy
        self.undecodable = 0
        self.rounded = 0
        self._encodings = _with_windows(declared) if declared else ("utf-8", legacy)

    @classmethod
    def of_utf8_format(cls, encoding: str | None) -> TextDecoder:
        """The decoder for a format whose text is UTF-8, except for values in another encoding."""
        return cls(None, encoding or _WINDOWS)

    @property
    def is_utf8(self) -> bool:
        """Whether a value that is valid UTF-8 is decoded as such."""
        return self._encodings[0] == "utf-8"

    def decode(self, raw: bytes) -> str | None:
        """The text; None if it is not valid."""
        for encoding in self._encodings:
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError as error:
                # A .dbf cuts a text at the column's width, perhaps inside a letter.
                is_cut = self.declared == "utf-8" and error.reason == "unexpected end of data"
                if is_cut and error.start > 0:
                    return raw[: error.start].decode("utf-8")
        self.undecodable += 1
        return _decode_or_none(raw, self.legacy) if self.declared == "utf-8" else None

    def repair(self, text: str) -> str | None:
        """The text of a value that was decoded as UTF-8 with "surrogateescape"."""
        if text.isascii() or (self.is_utf8 and text.isprintable()):
            return text
        try:
            raw = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # JSON may write a lone surrogate: \ud800
            return storable_text(text)
        return self.decode(raw)


def _decode_or_none(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _with_windows(declared: str) -> tuple[str, ...]:
    """The encodings to try. Texts that are said to be Latin-1 are Windows-1252, as in HTML."""
    return (_WINDOWS, declared) if declared in ("iso8859-1", "ascii") else (declared,)


def cpg_encoding(cpg: bytes) -> str | None:
    """The standard name of the encoding in a .cpg file; None if it names none."""
    line = _first_line(cpg)
    # What Esri calls the code page of MS-DOS.
    return "cp437" if line.upper() == "OEM" else known_encoding(line)


def cpg_language_driver(cpg: bytes) -> int | None:
    """The language driver that a .cpg file names, as "LDID/2"; None if it names none."""
    driver = _LDID.fullmatch(_first_line(cpg))
    return None if driver is None else int(driver[1])


def _first_line(cpg: bytes) -> str:
    return cpg.decode("utf-8-sig", "replace").split("\n")[0].strip()


def dbf_legacy_encoding(language_driver: int) -> str:
    """The encoding of a .dbf that is not UTF-8, from byte 29 of its header."""
    return _LANGUAGE_DRIVERS.get(language_driver, _WINDOWS)
