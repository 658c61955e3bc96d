"""What is to be thought of a segmenter's findings, where that is not what it seems."""

from __future__ import annotations

from collections.abc import Sequence

_CAVEATS = {
    "spectral": "a baseline without weights beside SAM3: colour and texture alone",
    "sam3-tiny": "a small SAM3 that was trained on synthetic pictures alone and says nothing of "
    "real imagery",
}


def found_by(segmenters: Sequence[str]) -> list[str]:
    """A sentence for each segmenter, which says what it is where it is none to rely on."""
    sentences = []
    for name in segmenters:
        caveats = [said for key, said in _CAVEATS.items() if name.startswith(key)]
        sentences.append(f"Found by {', '.join([name, *caveats])}.")
    return sentences
