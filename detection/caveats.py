"""What a segmenter's numbers are worth: caveats that go wherever the numbers go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from detection.labels import LABELS, Label

# By the beginning of the segmenter's name.
_SEGMENTERS = {
    "spectral": "a baseline without weights: colour and texture only, not SAM3",
    "sam3-tiny": "a small SAM3 trained on synthetic images only; its results say nothing about "
    "real imagery",
}


def segmenter_caveats(name: str) -> tuple[str, ...]:
    """What to know of a segmenter's results; empty for one that has no caveat of its own.

    Args:
        name: with or without its version.
    """
    return tuple(text for key, text in _SEGMENTERS.items() if name.startswith(key))


def result_caveats(segmenter: str, labels: Sequence[Label]) -> tuple[str, ...]:
    """The caveats of what a segmenter found of these labels, a phrase each."""
    untested = untested_labels(
        [label.name for label in labels], {label.name: label.prompt for label in labels}
    )
    own = f"labels or prompts of your own, whose accuracy is untested: {', '.join(untested)}"
    return (*segmenter_caveats(segmenter), *([own] if untested else []))


def untested_labels(labels: Iterable[str], prompts: Mapping[str, str]) -> dict[str, str]:
    """The labels, with their prompts, that no segmenter was evaluated on.

    These are labels that labels.yaml does not have, and those of it with another prompt.

    Args:
        prompts: by label; a shipped label without one has its own.
    """
    untested = {}
    for label in labels:
        shipped = LABELS[label].prompt if label in LABELS else None
        prompt = prompts.get(label, shipped or "")
        if prompt != shipped:
            untested[label] = prompt
    return untested
