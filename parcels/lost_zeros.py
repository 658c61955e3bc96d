"""Finds the lot of a parcel id that lost its leading zeros, as numbers in a spreadsheet do.

Only ids of digits that the county does not have are searched, and only one lot is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from parcels.errors import ParcelsError
from parcels.parcel_source import ParcelSource, QueryResult, query_all

# The longest parcel ids of counties have about as many digits.
MAX_DIGITS = 20
# A spreadsheet may write a whole number with decimals: 12345.0.
_NUMBER = re.compile(r"(\d+)(\.0+)?", re.ASCII)

PaddedResults = dict[str, QueryResult | ParcelsError]


def padded_ids(parcel_id: str) -> list[str]:
    """The ids that a spreadsheet shows as this number: without ".0", with leading zeros.

    None for an id that has leading zeros, is not a number, or is 0.
    """
    match = _NUMBER.fullmatch(parcel_id)
    if match is None or match[1].startswith("0"):
        return []
    digits, decimals = match[1], match[2]
    padded = [digits.zfill(length) for length in range(len(digits) + 1, MAX_DIGITS + 1)]
    return [digits, *padded] if decimals else padded


def query_padded(source: ParcelSource, parcel_ids: Sequence[str]) -> list[PaddedResults]:
    """For each id, the padded ids that the source has, or failed to answer, and their results.

    One query for all of them.
    """
    candidates = {parcel_id: padded_ids(parcel_id) for parcel_id in parcel_ids}
    wanted = list(dict.fromkeys(one for padded in candidates.values() for one in padded))
    found = dict(zip(wanted, query_all(source.with_ids, wanted), strict=True))
    return [
        {one: found[one] for one in candidates[parcel_id] if _is_answer(found[one])}
        for parcel_id in parcel_ids
    ]


def lost_zeros_note(parcel_id: str, used: str) -> str:
    """Why the lot of another id was used, for `Boundary.note`."""
    cause = "leading zeros" if used.startswith("0") else "a spreadsheet's decimals"
    return f"parcel id {used!r} was used for {parcel_id!r}: {cause}"


def _is_answer(result: QueryResult | ParcelsError) -> bool:
    return isinstance(result, ParcelsError) or bool(result.rows)
