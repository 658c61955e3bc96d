"""The note about undeclared fill that a run's report shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# A survey reads the edges of a file, so only some of a large mosaic are looked at for the note.
_FILES = 6


def fill_note(fill_shares: Sequence[Callable[[], float]]) -> str | None:
    """A sentence about files spread over a mosaic; None if none of them has fill.

    Args:
        fill_shares: for each file a function that surveys it: the fraction that is fill.
    """
    count = min(len(fill_shares), _FILES)
    chosen = {round(i * (len(fill_shares) - 1) / max(count - 1, 1)) for i in range(count)}
    shares = [fill_shares[index]() for index in sorted(chosen)]
    filled = [share for share in shares if share > 0]
    if not filled:
        return None
    looked = "imagery files" if len(shares) == len(fill_shares) else "imagery files looked at"
    return (
        f"{len(filled)} of {len(shares)} {looked} have undeclared fill at the edge, up to "
        f"{100 * max(filled):.2g} % of a file; it does not count as imaged (`nodata:` of the entry "
        "overrules this)."
    )
