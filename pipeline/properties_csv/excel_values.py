"""Finds values that a spreadsheet changed when it read or saved a file.

What it lost cannot be known: such a row is refused, because another lot may have the changed id.
"""

from __future__ import annotations

import re

from pipeline.properties_csv.problems import RowProblem, quoted

_ERROR = re.compile(
    r"#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|GETTING_DATA)"
)
_TOO_NARROW = re.compile(r"##+")
# As Excel writes a long number: one digit, at most a few decimals, a sign, two digits or more.
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[Ee][+-]\d{2,3}", re.ASCII)
# As Excel writes them in English, German, French and Spanish; with capitals they are ids: MAR-12.
_MONTHS = (
    "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mrz|Mär|Mai|Okt|Dez|"
    r"janv\.?|févr\.?|mars|avr\.?|mai|juin|juil\.?|août|sept\.?|oct\.?|nov\.?|déc\.?|"
    "ene|feb|mar|abr|may|jun|jul|ago|sep|dic"
)
_DATE = re.compile(
    rf"\d{{1,2}}(?:-|\. ?)(?:{_MONTHS})(?:[- ]\d{{2,4}})?|(?:{_MONTHS})[- ]\d{{2,4}}"
    r"|\d{1,2}/\d{1,2}/(?:19|20)\d{2}(?: .*)?|(?:19|20)\d{2}-\d{2}-\d{2} \d{2}:\d{2}.*",
    re.ASCII,
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.0+)?", re.ASCII)
# Any of these; most ids are none, and a file has many.
_CHANGED = re.compile(
    "|".join(each.pattern for each in (_ERROR, _TOO_NARROW, _SCIENTIFIC, _DATE, _GROUPED)), re.ASCII
)
# ="00123" keeps the zeros of a number in Excel.
_AS_FORMULA = re.compile(r'="(.*)"', re.DOTALL)


def spreadsheet_error(text: str) -> str | None:
    """What a value is that a spreadsheet wrote in place of the real one; None for real values."""
    if text[:1] != "#":
        return None
    if _ERROR.fullmatch(text):
        return f"Excel's error {text}; correct the cell"
    if _TOO_NARROW.fullmatch(text):
        return f"{text[:8]}, as Excel shows a number in a narrow column; widen it and save again"
    return None


def without_formula(cell: str) -> str:
    """The text of a cell that is written ="text"."""
    match = _AS_FORMULA.fullmatch(cell) if cell.startswith("=") else None
    return cell if match is None else match[1]


def check_id(text: str, name: str, *, is_number: bool = False) -> None:
    """Refuse an id that a spreadsheet has changed.

    Args:
        name: of the column, for the message.
        is_number: whether thousands separators are a sign of that too.

    Raises:
        RowProblem: digits are lost, it became a date, or it is an error value.
    """
    if _CHANGED.fullmatch(text) is None and "\ufffd" not in text:
        return
    if (error := spreadsheet_error(text)) is not None:
        raise RowProblem(f"{name} is {error}")
    if _SCIENTIFIC.fullmatch(text):
        raise RowProblem(
            f"{name} is {quoted(text)}: Excel has cut the digits of a long number; format the "
            "column as Text and enter it again"
        )
    if _DATE.fullmatch(text):
        raise RowProblem(
            f"{name} is {quoted(text)}: Excel has made a date of it (3-12 becomes 12-Mar); format "
            "the column as Text and enter it again"
        )
    if is_number and _GROUPED.fullmatch(text):
        raise RowProblem(
            f"{name} is {quoted(text)}, a number with thousands separators; format the column as "
            "Text and enter it again"
        )
    if "\ufffd" in text:
        raise RowProblem(f"{name} is {quoted(text)}, in which a character was lost; enter it again")
