"""SQL conditions for ArcGIS: values quoted, patterns escaped, columns from the layer's list."""

from __future__ import annotations

import re
from collections.abc import Iterable

from parcels.addresses.house_number import read_house_number
from parcels.addresses.street_address import StreetAddress
from parcels.arcgis.layer_info import LayerInfo
from parcels.registry.county import ParcelFields

# "SELECT … LIKE … ESCAPE", as Esri's SQL reference for query expressions writes it.
_ESCAPE = "$"
# Words that one side may write otherwise (SAINT, ST), or leave out.
_OFTEN_WRITTEN_OTHERWISE = re.compile(
    r"[NS]?[EW]?|NORTH|SOUTH|EAST|WEST|SAINT|ST|MOUNT|MT|FORT|FT|US|STATE|COUNTY|CR|FM|HWY|HIGHWAY|"
    r"RD|ROAD|RTE|ROUTE|STREET|AVE|AVENUE|DR|DRIVE|LN|LANE|BLVD|THE|OF|AND"
)


def quote(text: str) -> str:
    """A text value."""
    return "'" + text.replace("'", "''") + "'"


def sql_literal(text: str, *, numeric: bool) -> str | None:
    """A value; None where a numeric column cannot hold it."""
    if not numeric:
        return quote(text)
    return text if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) else None


def in_list(column: str, values: Iterable[str]) -> str:
    """The column has one of these values, which are written as `sql_literal` does."""
    return f"{column} IN ({','.join(values)})"


def and_where(first: str | None, second: str) -> str:
    """Two conditions at once; the first may be missing."""
    return second if first is None else f"({first}) AND ({second})"


def any_of(conditions: Iterable[str]) -> str:
    """At least one of the conditions."""
    return " OR ".join(f"({condition})" for condition in conditions)


def like(column: str, pattern: str) -> str:
    """Capitals of the column match a pattern whose texts went through `escape_like`."""
    escape = f" ESCAPE '{_ESCAPE}'" if _ESCAPE in pattern else ""
    return f"UPPER({column}) LIKE {quote(pattern)}{escape}"


def escape_like(text: str) -> str:
    """A text in a pattern, in which no character stands for others."""
    return re.sub(rf"([%_{re.escape(_ESCAPE)}])", rf"{_ESCAPE}\1", text.upper())


def address_condition(fields: ParcelFields, info: LayerInfo, address: StreetAddress) -> str | None:
    """Rows that may have an address: too many rather than too few; None where none can.

    The columns have the house number and the street, or the whole line.
    """
    street = _street_pattern(address.street_name)
    if fields.house_number is not None and fields.street:
        number = _number_condition(
            # Without a street, ranges would be those of the whole county.
            fields.house_number, info, address.house_number, with_ranges=street is not None
        )  # fmt: skip
        if number is None or street is None:
            return number
        return and_where(number, any_of(like(column, street) for column in fields.street))
    if fields.address is None:
        return None
    numbers = _very_numbers(address.house_number)
    if street is None:
        return any_of(like(fields.address, f"%{very}%") for very in numbers)
    # Number first, or street first as Tennessee writes it; behind which a dash is the ZIP code's.
    patterns = [text for very in numbers for text in (f"%{very}{street}", f"{street}{very}%")]
    patterns += [f"%{ends}{street}" for ends in _ranges(address.house_number)]
    return any_of(like(fields.address, pattern) for pattern in patterns)


def _number_condition(
    column: str, info: LayerInfo, house_number: str, *, with_ranges: bool
) -> str | None:
    if info.is_numeric(column):
        numbers = [digits for each in _each(house_number) if (digits := _digits(each))]
        if len(numbers) < 2:
            return f"{column} = {numbers[0]}" if numbers else None
        return in_list(column, numbers)
    patterns = [*_very_numbers(house_number), *(_ranges(house_number) if with_ranges else ())]
    return any_of(like(column, f"%{pattern}%") for pattern in patterns)


def _very_numbers(house_number: str) -> list[str]:
    """In a pattern: "0123", "123.0", "123 1/2" and "121-125" all begin or end with it somewhere."""
    return [escape_like(_digits(each) or each) for each in _each(house_number)]


def _each(house_number: str) -> list[str]:
    """The numbers of a range, each of which may be a lot; else the number itself."""
    number = read_house_number(house_number)
    plain = [] if number is None or number.rest else number.numbers()
    return [str(each) for each in plain] if len(plain) > 1 else [house_number]


def _ranges(house_number: str) -> list[str]:
    """In a pattern: the ranges that a number may lie in, which begin in the same hundred."""
    return [f"{house_number[:-2]}%-"] if house_number.isdecimal() else []


def _digits(house_number: str) -> str | None:
    leading = re.match(r"\d+", house_number, re.ASCII)
    return leading[0] if leading else None


def _street_pattern(street_name: str) -> str | None:
    """A pattern for the street's most telling word; None where none is.

    Numbered streets have none: they are written 2ND, 2 and SECOND.
    """
    words = [
        word
        for word in street_name.upper().split()
        if not _OFTEN_WRITTEN_OTHERWISE.fullmatch(word) and not any(map(str.isdigit, word))
    ]
    telling = max(words, key=len, default="")
    if len(telling) < 2:
        return None
    # O'BRIEN and ST JOHN'S lose their apostrophes where addresses are read.
    first, middle, last = telling[0], telling[1:-1], telling[-1]
    return "%" + "%".join(escape_like(part) for part in (first, middle, last) if part) + "%"
