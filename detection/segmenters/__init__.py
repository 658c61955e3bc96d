"""The segmenters by name. Each is built on demand, so that importing this needs no torch.

A new segmenter implements `interface.Segmenter` and is returned by `build_segmenter`.
"""

from __future__ import annotations

from importlib.resources import files

from detection.errors import SegmenterError, WeightsMissing
from detection.segmenters.interface import Segmenter
from detection.segmenters.known_labels import SPECTRAL_LABELS
from detection.segmenters.sam3.sources import check_source

SEGMENTERS = ("spectral", "sam3", "sam3-tiny")


# The names of the labels that each can find; None if it takes text prompts.
_LABELS = {"spectral": SPECTRAL_LABELS, "sam3": None, "sam3-tiny": None}


def supported_labels(name: str) -> tuple[str, ...] | None:
    """What `Segmenter.labels` will be, known before the segmenter is built.

    Raises:
        SegmenterError: no such segmenter.
    """
    check_name(name)
    return _LABELS[name]


def check_name(name: str) -> None:
    """
    Raises:
        SegmenterError: no such segmenter.
    """
    if name not in SEGMENTERS:
        raise SegmenterError(f"unknown segmenter {name!r}: choose from {', '.join(SEGMENTERS)}")


def check_segmenter(name: str, weights: str | None = None) -> None:
    """Check the name and the weights' path, without the seconds that building takes.

    Raises:
        SegmenterError: no such segmenter, or sam3 without weights or with a wrong path.
    """
    check_name(name)
    if name != "sam3":
        return
    if not weights:
        raise WeightsMissing(
            "the segmenter sam3 needs weights: a folder, a file (.safetensors or Meta's sam3.pt) "
            "or a hub id such as facebook/sam3. The segmenter sam3-tiny needs none"
        )
    check_source(weights)


def build_segmenter(name: str, weights: str | None = None) -> Segmenter:
    """Build the segmenter with a name from `SEGMENTERS`.

    Args:
        weights: for sam3, in a form that `segmenters.sam3.weights` lists; the others need none.

    Raises:
        SegmenterError: no such segmenter, weights that cannot be loaded, or torch or transformers
            is not installed.
    """
    check_segmenter(name, weights)
    try:
        if name == "spectral":
            from detection.segmenters.spectral import Spectral

            return Spectral()
        from detection.segmenters.sam3.segmenter import Sam3
        from detection.segmenters.sam3.weights import load_weights
    except ModuleNotFoundError as error:
        raise SegmenterError(
            f"segmenter {name!r} needs the package {error.name}: install lotline[detection]"
        ) from error
    tiny = files("detection.segmenters.sam3").joinpath("tiny")
    source = weights if weights and name == "sam3" else str(tiny)
    return Sam3(load_weights(source), name)
