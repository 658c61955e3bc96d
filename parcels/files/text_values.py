"""A column of any Arrow type -> exact texts.

Integers keep all their digits, also beside nulls. Numbers lose a ".0" and trailing zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from parcels.files.text_encoding import TextDecoder

Texts = list[str | None]

# A larger float is several integers, so that neighbours would have one id.
_MAX_EXACT = 2.0**53


def column_texts(column: pa.Array, decoder: TextDecoder) -> Texts:
    """The values (n,) of a column as text; null, NaN and undecodable values are None."""
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
        return _each(column.cast(pa.float32()).cast(pa.string()), _number_in_text)
    if pa.types.is_floating(kind):
        return _exact_floats(column.to_pylist(), decoder)
    return _each(column, number_text if pa.types.is_decimal(kind) else str)


def number_text(number: float | Decimal) -> str | None:
    """A number without ".0", exponent and trailing zeros; None if it is not finite."""
    if not math.isfinite(number):
        return None
    if number == int(number):
        return str(int(number))
    if isinstance(number, Decimal):
        return format(number.normalize(), "f")
    return str(float(number))


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
    too_large = sum(1 for n in numbers if n is not None and abs(n) >= _MAX_EXACT)
    if not too_large:
        return [None if n is None else number_text(n) for n in numbers]
    decoder.rounded += sum(1 for n in numbers if n is not None and _MAX_EXACT <= abs(n) < math.inf)
    return [None if n is None or abs(n) >= _MAX_EXACT else number_text(n) for n in numbers]


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
