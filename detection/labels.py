"""Labels: the class, the text that asks for it, and how its polygons meet a lot line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from detection.errors import LabelError

Kind = Literal["discrete", "continuous"]


@dataclass(frozen=True, slots=True)
class Label:
    """A class of things on a lot.

    Attributes:
        prompt: the text that a prompted segmenter is asked with.
        kind: "discrete" things (a pool) belong to a lot whole; "continuous" ones (a lawn) are
            trimmed at the lot line.
        min_area_m2: smaller polygons are taken for noise.
        least_score: what a prompted segmenter must be sure of, 0..1, to say that it is there.
        simplify_share: outlines may lose corners as long as a polygon's area changes by no more
            than this share of it; 0 keeps every corner.
    """

    name: str
    prompt: str
    kind: Kind
    min_area_m2: float
    least_score: float = 0.5
    simplify_share: float = 0.0


LABELS: dict[str, Label] = {
    label.name: label
    for label in (
        Label("lawn", "mowed grass lawn", "continuous", 4.0),
        # Canopy is measured as cover over the lot, not as stems: it is trimmed like a lawn.
        Label("tree", "tree canopy", "continuous", 4.0),
        Label("vegetation", "green vegetation", "continuous", 4.0),
    )
}


def choose_labels(names: Iterable[str]) -> tuple[Label, ...]:
    """The labels of these names, in their order, each once.

    Raises:
        LabelError: a name that is not known, or none at all.
    """
    chosen: dict[str, Label] = {}
    for name in names:
        if name not in LABELS:
            raise LabelError(f"unknown label {name!r}: choose from {', '.join(LABELS)}")
        chosen[name] = LABELS[name]
    if not chosen:
        raise LabelError(f"no label given: choose from {', '.join(LABELS)}")
    return tuple(chosen.values())
