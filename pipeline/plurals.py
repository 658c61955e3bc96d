"""Numbers of things in words."""

from __future__ import annotations


def count_of(count: int, things: str) -> str:
    """One is "1 property", more are "2,000 properties"; `things` ends in -s or -ies."""
    if count != 1:
        return f"{count:,} {things}"
    return f"1 {things[:-3]}y" if things.endswith("ies") else f"1 {things[:-1]}"


def is_or_are(count: int) -> str:
    """What so many are joined with."""
    return "is" if count == 1 else "are"
