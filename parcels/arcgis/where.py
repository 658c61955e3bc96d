"""SQL conditions for ArcGIS queries: quoted literals, escaped LIKE patterns.

Column names come from the layer's own list, so they need no quoting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from parcels.addresses.house_number import parse_house_number
from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_words import common_letters, stable_words
from parcels.arcgis.layer_info import LayerInfo
from parcels.registry.county import ParcelFields

_DIGITS = re.compile(r"\d+", re.ASCII)
_GRID_LETTER = re.compile(r"\d[NSEW]\d", re.ASCII)
# From this length on a name may be written in two words: DE SOTO.
_MAY_HAVE_SPACE = 5
# For LIKE … ESCAPE, as in Esri's SQL reference for query expressions.
_ESCAPE = "$"


def quote(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_literal(text: str, *, numeric: bool) -> str | None:
    """A value as an SQL literal; None if a numeric column cannot have it, such as 007."""
    if not numeric:
        return quote(text)
    return text if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", text, re.ASCII) else None


def in_list(column: str, values: Iterable[str]) -> str:
    """The column has one of these SQL literals."""
    return f"{column} IN ({','.join(values)})"


def and_where(first: str | None, second: str) -> str:
    """Both conditions; the first is optional."""
    return second if first is None else f"({first}) AND ({second})"


def any_of(conditions: Iterable[str]) -> str:
    """At least one of the conditions."""
    return " OR ".join(f"({condition})" for condition in conditions)


def like(column: str, pattern: str) -> str:
    """The upper-case column matches a LIKE pattern; texts in it need `escape_like`."""
    escape = f" ESCAPE '{_ESCAPE}'" if _ESCAPE in pattern else ""
    return f"UPPER({column}) LIKE {quote(pattern)}{escape}"


def escape_like(text: str) -> str:
    """A text for a LIKE pattern, in upper case and without wildcards."""
    return re.sub(rf"([%_{re.escape(_ESCAPE)}])", rf"{_ESCAPE}\1", text.upper())


def address_condition(fields: ParcelFields, info: LayerInfo, address: StreetAddress) -> str | None:
    """The condition of rows that may have an address, rather too many than too few.

    Uses the columns of house number and street, or the column of the full line. None if no row
    can have the address.
    """
    street = _street_pattern(address.street_name)
    if fields.house_number is not None and fields.street:
        number_sql = _number_condition(
            # Without a street, ranges would match all over the county.
            fields.house_number, info, address.house_number, with_ranges=street is not None
        )  # fmt: skip
        if number_sql is None or street is None:
            return number_sql
        return and_where(number_sql, any_of(like(column, street) for column in fields.street))
    if fields.address is None:
        return None
    numbers = _number_texts(address.house_number)
    if street is None:
        return any_of(like(fields.address, f"%{number}%") for number in numbers)
    # Number first, or street first (Tennessee), where a dash after it belongs to the ZIP code.
    patterns = [text for number in numbers for text in (f"%{number}{street}", f"{street}{number}%")]
    patterns += [f"%{start}{street}" for start in _ranges(address.house_number)]
    return any_of(like(fields.address, pattern) for pattern in patterns)


def _number_condition(
    column: str, info: LayerInfo, house_number: str, *, with_ranges: bool
) -> str | None:
    if info.is_numeric(column):
        numbers = [digits for each in _range_numbers(house_number) if (digits := _digits(each))]
        if len(numbers) < 2:
            return f"{column} = {numbers[0]}" if numbers else None
        return in_list(column, numbers)
    # W156 N8480 may have a column for each of its numbers.
    texts = [text.split("%")[0] for text in _number_texts(house_number)]
    patterns = [*texts, *(_ranges(house_number) if with_ranges else ())]
    return any_of(like(column, f"%{pattern}%") for pattern in patterns)


def _number_texts(house_number: str) -> list[str]:
    """LIKE texts of a house number: with wildcards, 123 matches "0123", "123.0" and "123-125".

    W156N8480 is also written W156 N8480.
    """
    return [
        _digits(each) or "%".join(_DIGITS.findall(each)) for each in _range_numbers(house_number)
    ]


def _range_numbers(house_number: str) -> list[str]:
    """The numbers of a range, each of which may be a lot; else the number itself."""
    number = parse_house_number(house_number)
    plain = [] if number is None or number.rest else number.numbers()
    return [str(each) for each in plain] if len(plain) > 1 else [house_number]


def _ranges(house_number: str) -> list[str]:
    """LIKE texts of ranges that may contain a number: they start in the same hundred."""
    return [f"{house_number[:-2]}%-"] if house_number.isdecimal() else []


def _digits(house_number: str) -> str | None:
    """The digits of a house number; None for a grid number, which has two numbers."""
    digits = _DIGITS.search(house_number)
    return None if digits is None or _GRID_LETTER.search(house_number) else digits[0]


def _street_pattern(street_name: str) -> str | None:
    """A LIKE pattern for the most distinctive word of a street; None if there is none.

    Numbered streets have none: they are spelled 2ND, 2 and SECOND.
    """
    letters = common_letters(street_name.upper())
    if len(letters) < 2:
        return None
    if len(letters) >= _MAY_HAVE_SPACE or letters not in stable_words(street_name.upper()):
        return f"%{'%'.join(map(escape_like, letters))}%"
    # Address parsing drops the apostrophes of O'BRIEN and ST JOHN'S.
    first, middle, last = letters[0], letters[1:-1], letters[-1]
    return "%" + "%".join(escape_like(part) for part in (first, middle, last) if part) + "%"
