"""A column of any Arrow type -> exact texts.

Integers keep all their digits, also beside nulls. Numbers lose a ".0" and trailing zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from parcels.column_mapping import MAX_EXACT, MAX_EXACT_SINGLE
from parcels.files.text_encoding import TextDecoder

Texts = list[str | None]


def column_texts(column: pa.Array, decoder: TextDecoder) -> Texts:
    """The values (n,) of a column as text; null, NaN, undecodable and nested values are None."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        texts = column_texts(column.dictionary, decoder)
        return [None if i is None else texts[i] for i in column.indices.to_pylist()]
    if _is_text(kind):
        return _decoded(column, decoder)
    if pa.types.is_integer(kind):
        return list(column.cast(pa.string()).to_pylist())
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        # The shortest text of the stored value: 0.1, not 0.10000000149.
        single = column.cast(pa.float32())
        texts = _each(single.cast(pa.string()), _number_in_text)
        return _without_rounded(single.to_pylist(), texts, MAX_EXACT_SINGLE, decoder)
    if pa.types.is_floating(kind):
        return _exact_floats(column.to_pylist(), decoder)
    return _other_texts(column, decoder)


def _other_texts(column: pa.Array, decoder: TextDecoder) -> Texts:
    """The texts of decimals, truth values, dates and times; none of lists and records."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return _each(column, number_text)
    if pa.types.is_nested(kind):
        return [None] * len(column)  # a list or a record is no id, and no part of an address
    try:
        return _each(column, str)
    except (ValueError, OverflowError, pa.ArrowException):
        decoder.undecodable += len(column)  # dates that Python has not, time zones of nowhere
        return [None] * len(column)


def number_text(number: float | Decimal) -> str | None:
    """A number without ".0", exponent and trailing zeros; None if it is not finite."""
    if not math.isfinite(number):
        return None
    if number == int(number):
        return str(int(number))
    if isinstance(number, Decimal):
        return format(number.normalize(), "f")
    return format(Decimal(repr(float(number))), "f")


def decimal_text(text: str) -> str | None:
    """`number_text` of a number that is written as text, with all its digits."""
    try:
        return number_text(Decimal(text.strip()))
    except InvalidOperation:
        return None


def json_text(value: object, decoder: TextDecoder) -> str | None:
    """The text of a value of JSON, numbers as in `column_texts`; lists and objects stay JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _exact_floats([value], decoder)[0]
    import json

    return json.dumps(value, ensure_ascii=False)


def _exact_floats(numbers: list[float | None], decoder: TextDecoder) -> Texts:
    """The texts of floats; None for those that stand for several integers."""
    texts = [None if n is None else number_text(n) for n in numbers]
    return _without_rounded(numbers, texts, MAX_EXACT, decoder)


def _without_rounded(
    numbers: list[float | None], texts: Texts, limit: float, decoder: TextDecoder
) -> Texts:
    """The texts of numbers; None from a limit on, and such numbers are counted."""
    too_large = [n is not None and limit <= abs(n) < math.inf for n in numbers]
    if not any(too_large):
        return texts
    decoder.rounded += sum(too_large)
    return [None if is_rounded else text for text, is_rounded in zip(texts, too_large, strict=True)]


def _is_text(kind: pa.DataType) -> bool:
    tests = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    is_fixed = pa.types.is_fixed_size_binary(kind)
    return is_fixed or any(getattr(pa.types, f"is_{name}")(kind) for name in tests)


def _decoded(column: pa.Array, decoder: TextDecoder) -> Texts:
    is_text = "string" in str(column.type)
    if is_text and decoder.is_utf8:
        try:
            return list(column.to_pylist())
        except UnicodeDecodeError:
            pass  # one by one, below
    raw = column.cast(pa.binary_view() if "view" in str(column.type) else pa.large_binary())
    return [None if value is None else decoder.decode(value) for value in raw.to_pylist()]


def _each(column: pa.Array, text_of: Callable[[Any], str | None]) -> Texts:
    return [None if value is None else text_of(value) for value in column.to_pylist()]


def _number_in_text(text: str) -> str | None:
    return None if text in ("nan", "inf", "-inf") else number_text(Decimal(text))
