"""Makes a property of a row, or says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable

from parcels import ParcelsError, Property
from pipeline.formula_guard import strip_guard
from pipeline.properties_csv.degrees import parse_degrees, parse_pair
from pipeline.properties_csv.excel_values import check_id, spreadsheet_error, without_formula
from pipeline.properties_csv.header import REJECTED_COLUMNS, HeaderColumns
from pipeline.properties_csv.header_names import Role
from pipeline.properties_csv.joined_address import join_address
from pipeline.properties_csv.problems import (
    RowProblem,
    duplicate_id,
    quoted,
    still_duplicate_problem,
)
from pipeline.properties_csv.records import MAX_VALUE_CHARS, RawRecord, unwrap

# A PostgreSQL index entry holds about 2,700 bytes; a character takes up to four.
_MAX_ID_CHARS = 500

_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
_TEXT_SIGN = re.compile(r"^'(?=\d)")
# Spaces and dashes of word processors, which no county writes in an id.
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
# Excel makes dates of ranges and fractions: 10-12 and 1/2.
_NUMBERS: tuple[Role, ...] = ("house_number", "number_suffix")
# No county is there: these are longitudes.
_SOUTHERNMOST = -60.0
_SIGNS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


class RowReader:
    """Reads the rows below one header."""

    def __init__(self, columns: HeaderColumns, delimiter: str) -> None:
        self._columns = columns
        self._delimiter = delimiter
        self._width = len(columns.names)
        self._names = {
            role: role if columns.name_of(role) == role else f"{role} ({columns.name_of(role)})"
            for role in columns.roles
        }
        names = [name.casefold() for name in columns.names]
        has_problems = all(name in names for name in REJECTED_COLUMNS)
        self._problem_index = names.index(REJECTED_COLUMNS[1]) if has_problems else None

    def cells(self, record: RawRecord) -> list[str]:
        """The record's cells, one for each column where Excel left out or added empty ones."""
        cells, width = record.cells, self._width
        if len(cells) == width:
            return cells
        if width > 1:
            inner = unwrap(cells, self._delimiter)
            if len(inner) == width:
                return inner
        if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
            return cells[:width]
        return cells

    def property_of(self, record: RawRecord) -> Property:
        """The property of a record.

        Raises:
            RowProblem, ParcelsError: it is not valid.
        """
        if record.problem is not None:
            raise RowProblem(record.problem)
        cells = self.cells(record)
        longest = max(map(len, cells), default=0)
        if longest > MAX_VALUE_CHARS:
            raise RowProblem(
                f"a value has {longest:,} characters, the most is {MAX_VALUE_CHARS:,}; shorten it"
            )
        if any("\0" in cell for cell in cells):
            raise RowProblem("contains a NUL byte; save the CSV again as text")
        missing = self._width - len(cells)
        if missing < 0:
            raise self._wrong_count(len(cells))
        if missing and record.is_cut_off:
            raise RowProblem(
                f"{_values(len(cells))} for {self._width} columns, and the last line has no line "
                "ending: the file may be cut off; save or copy it again"
            )
        if not missing:
            return self._property(cells)
        try:
            # Excel leaves out the separators of empty cells at the end of a row.
            return self._property([*cells, *[""] * missing])
        except ParcelsError as error:
            raise self._wrong_count(len(cells)) from error

    def _wrong_count(self, count: int) -> RowProblem:
        sign = _SIGNS.get(self._delimiter, self._delimiter)
        return RowProblem(
            f"{_values(count)} for {self._width} columns; put quotes around a value with a {sign}"
        )

    def _property(self, cells: list[str]) -> Property:
        given = {role: _clean(cells[index]) for role, index in self._columns.roles.items()}
        try:
            self._check_property_id(cells, given["property_id"])
            longitude, latitude = self._point(given)
            parcel_id, address = self._parcel_id(given), self._address(given)
        except RowProblem:
            raise RowProblem("; ".join(self._all_problems(cells, given))) from None
        property_id = given["property_id"]
        prop = Property(property_id, longitude, latitude, parcel_id or None, address or None)
        if latitude is not None and latitude < _SOUTHERNMOST:
            raise RowProblem(
                f"property {property_id}: latitude {latitude} is in Antarctica; longitude and "
                "latitude look swapped"
            )
        return prop

    def _all_problems(self, cells: list[str], given: dict[Role, str]) -> list[str]:
        """Every problem of a row's values, so that one correction is enough."""
        checks: list[Callable[[], object]] = [
            lambda: self._check_property_id(cells, given["property_id"]),
            lambda: self._point({**given, "latitude": ""}),
            lambda: self._point({**given, "longitude": ""}),
            lambda: self._parcel_id(given),
            lambda: self._address(given),
        ]
        problems: dict[str, None] = {}
        for check in checks:
            try:
                check()
            except RowProblem as problem:
                problems[str(problem)] = None
        return list(problems)

    def _check_property_id(self, cells: list[str], property_id: str) -> None:
        if len(property_id) > _MAX_ID_CHARS:
            raise RowProblem(
                f"property_id has {len(property_id):,} characters; the maximum is {_MAX_ID_CHARS}"
            )
        check_id(property_id, self._names["property_id"])
        self._check_still_duplicate(cells, property_id)

    def _check_still_duplicate(self, cells: list[str], property_id: str) -> None:
        """Refuse a row of a rejected.csv whose id is still that of another row.

        Alone in its file it is no duplicate, but it would replace the other row's property.
        """
        if self._problem_index is None:
            return
        if duplicate_id(_clean(cells[self._problem_index])) == property_id:
            raise RowProblem(still_duplicate_problem(property_id))

    def _point(self, given: dict[Role, str]) -> tuple[float | None, float | None]:
        if text := given.get("coordinates"):
            return parse_pair(text, self._columns.pair_order, self._names["coordinates"])
        location = given.get("location")
        if location and _is_pair(location):
            return parse_pair(location, "unknown", self._names["location"])
        longitude, latitude = given.get("longitude"), given.get("latitude")
        return (
            parse_degrees(longitude, "longitude", self._names["longitude"]) if longitude else None,
            parse_degrees(latitude, "latitude", self._names["latitude"]) if latitude else None,
        )

    def _parcel_id(self, given: dict[Role, str]) -> str:
        parcel_id = given.get("parcel_id", "")
        if not parcel_id:
            return ""
        check_id(parcel_id, self._names["parcel_id"], is_number=True)
        # Excel shows 'text for a number that is text; some programs write the sign into the file.
        plain = _TEXT_SIGN.sub("", parcel_id) if parcel_id[0] == "'" else parcel_id
        return plain if plain.isascii() else plain.translate(_TYPOGRAPHY)

    def _address(self, given: dict[Role, str]) -> str:
        parts = self._columns.address_parts
        if not parts:
            single: tuple[Role, ...] = ("full_address", "address", "location")
            parts = tuple(role for role in single if role in given)
        for role in parts:
            if (error := spreadsheet_error(given[role])) is not None:
                raise RowProblem(f"{self._names[role]} is {error}")
            if role in _NUMBERS:
                check_id(given[role], self._names[role], is_number=True)
            if "\ufffd" in given[role]:
                raise RowProblem(
                    f"{self._names[role]} is {quoted(given[role])}, in which a character was lost; "
                    "enter it again"
                )
        if self._columns.address_parts:
            return join_address({role: given[role] for role in parts})
        if not parts or (parts[0] == "location" and _is_pair(given[parts[0]])):
            return ""
        return given[parts[0]]


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def _is_pair(location: str) -> bool:
    """Whether a location is a pair of coordinates, and not an address: it has no word."""
    return re.search(r"[A-Za-z]{2}", location) is None


def _clean(cell: str) -> str:
    """A cell without outer spaces, the guard of an export, and Excel's ="…".

    Spaces inside are kept: those of an id may be significant.
    """
    text = cell.strip()
    if not text.isascii():
        text = text.strip(_INVISIBLE).strip()
    if text[:1] == "=":
        return without_formula(text).strip()
    return strip_guard(text) if text[:1] == "'" else text
