"""What a segmenter's numbers are worth: caveats that go wherever the numbers go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from detection.labels import LABELS, Label
from detection.segmenters.sam3.taught import normalized, taught_phrases

# By the beginning of the segmenter's name.
_SEGMENTERS = {
    "spectral": "a baseline without weights: colour and texture only, not SAM3",
    "landcover": "a small network trained on aerial images of six places in California at 0.6 m",
    "sam3-tiny": "a small SAM3 trained on synthetic images only; its results say nothing about "
    "real imagery",
    "sam3-nano": "a small SAM3 taught by landcover on aerial images of California; it knows few "
    "phrases",
}
_NANO = "sam3-nano"
_NANO_WEIGHTS = files("detection.segmenters.sam3").joinpath("nano", "model.safetensors")


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
    untaught = untaught_prompts(segmenter, [label.prompt for label in labels])
    unknown = f"{segmenter} was not taught {', '.join(untaught)}: it finds nothing, or guesses"
    own = f"labels or prompts of your own, whose accuracy is untested: {', '.join(untested)}"
    return (
        *segmenter_caveats(segmenter),
        *([unknown] if untaught else []),
        *([own] if untested else []),
    )


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


def untaught_prompts(segmenter: str, prompts: Iterable[str]) -> tuple[str, ...]:
    """The prompts, quoted, that a small network was not taught; none for one that takes any.

    Args:
        segmenter: its name, with or without its version.
    """
    if not segmenter.startswith(_NANO):
        return ()
    taught = taught_phrases(Path(str(_NANO_WEIGHTS)))
    if taught is None:
        return ()
    return tuple(repr(prompt) for prompt in prompts if normalized(prompt) not in taught)
