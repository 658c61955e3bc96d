"""Agreement: how well two streets agree."""

from __future__ import annotations

from enum import IntEnum


class Agreement(IntEnum):
    """How well two streets agree.

    NONE: they contradict each other. LOOSE: one leaves something out, for example a direction or
    the suffix, so it may be another street. SAME: the same words in another order or spelling.
    """

    NONE = 0
    LOOSE = 1
    SAME = 2
    EXACT = 3
