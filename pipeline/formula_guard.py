"""Guards cells against formula injection: a spreadsheet runs text that begins like a formula."""

from __future__ import annotations

import re

# The start of a formula, also with the full-width and small characters that some locales of Excel
# take for it, and after blanks and invisible characters that an import may trim. Text that already
# has apostrophes before it gets one more, so that removing one restores the original.
_MARKS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
_INVISIBLE = "\\s\0-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_START = rf"'*([{_INVISIBLE}]*[{_MARKS}]|[\t\r\n])"
_FORMULA = re.compile(_START)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_GUARD = re.compile(rf"^'(?={_START})")


def escape_formula(text: str | None) -> str | None:
    """Put an apostrophe before text that a spreadsheet would run as a formula.

    Numbers as text are unchanged: "-90.05" is not a formula.
    """
    if text and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def strip_guard(text: str) -> str:
    """Remove the apostrophe that `escape_formula` put before a formula character."""
    return _GUARD.sub("", text)
