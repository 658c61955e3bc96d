"""Counts with a singular or plural noun."""

from __future__ import annotations


def count_of(count: int, things: str) -> str:
    """Return "1 property" or "2,000 properties"; `things` is a plural in -s or -ies."""
    if count != 1:
        return f"{count:,} {things}"
    return f"1 {things[:-3]}y" if things.endswith("ies") else f"1 {things[:-1]}"


def is_or_are(count: int) -> str:
    """Return "is" for 1, else "are"."""
    return "is" if count == 1 else "are"
