"""What no training may use: the city to judge by, in any year."""

from __future__ import annotations

# Beginnings of the names of its tiles.
HELD_OUT_PREFIXES = ("riverside",)
