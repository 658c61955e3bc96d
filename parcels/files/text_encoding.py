"""Bytes of text values -> text: by the declared encoding, else UTF-8, else Windows-1252.

Each value is decoded alone, so that the result does not depend on how the rows are batched, and a
bad byte affects only its own row.
"""

from __future__ import annotations

from parcels.registry.validators import known_encoding

# The language driver (byte 29 of a .dbf) of a text that is not UTF-8.
_LANGUAGE_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x13: "cp932", 0x26: "cp866", 0x4D: "gbk", 0x4E: "cp949",
    0x4F: "big5", 0x64: "cp852", 0x65: "cp866", 0x78: "big5", 0x79: "cp949", 0x7A: "gbk",
    0x7B: "cp932", 0xC8: "cp1250", 0xC9: "cp1251", 0xCA: "cp1254", 0xCB: "cp1253",
}  # fmt: skip
_WINDOWS = "cp1252"


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
        return self.decode(text.encode("utf-8", "surrogateescape"))


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
    lines = cpg.decode("utf-8-sig", "replace").split("\n")
    return known_encoding(lines[0])


def dbf_legacy_encoding(language_driver: int) -> str:
    """The encoding of a .dbf that is not UTF-8, from byte 29 of its header."""
    return _LANGUAGE_DRIVERS.get(language_driver, _WINDOWS)
