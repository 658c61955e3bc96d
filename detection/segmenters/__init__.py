"""The segmenters by name. Each is built on demand, so that importing this needs no torch.

A new segmenter implements `interface.Segmenter` and is returned by `build_segmenter`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from detection.errors import SegmenterError, WeightsMissing
from detection.segmenters.interface import PromptableSegmenter, Segmenter
from detection.segmenters.known_labels import LANDCOVER_LABELS, SPECTRAL_LABELS
from detection.segmenters.landcover.weight_files import check_weights_folder
from detection.segmenters.sam3.sources import check_source

SEGMENTERS = ("spectral", "landcover", "sam3", "sam3-tiny", "sam3-nano")
DEFAULT_SEGMENTER: Final = "landcover"
"""The one that is used wherever none is named; its weights are in the package."""
WITHOUT_WEIGHTS = frozenset({"spectral"})
"""The segmenters that are rules; nothing has to be loaded to know them."""


@dataclass(frozen=True, slots=True)
class ChipSize:
    """A segmenter's `chip_px` and `gsd_m`; see `interface.Segmenter`."""

    chip_px: int
    gsd_m: float | None


# The names of the labels that each can find; None if it takes text prompts.
_PROMPTABLE = ("sam3", "sam3-tiny", "sam3-nano")
_LABELS = {
    "spectral": SPECTRAL_LABELS, "landcover": LANDCOVER_LABELS,
    "sam3": None, "sam3-tiny": None, "sam3-nano": None,
}  # fmt: skip
_CHIPS = {
    "spectral": ChipSize(1008, None), "landcover": ChipSize(512, 0.2), "sam3": ChipSize(1008, 0.3),
    "sam3-tiny": ChipSize(1008, 0.3), "sam3-nano": ChipSize(336, 0.3),
}  # fmt: skip
# The folders of the shipped networks, and the sides of their chips in pixels of 0.3 m.
_SHIPPED = {"sam3-tiny": ("tiny", 1008), "sam3-nano": ("nano", 336)}


def supported_labels(name: str) -> tuple[str, ...] | None:
    """What `Segmenter.labels` will be, known before the segmenter is built.

    Raises:
        SegmenterError: no such segmenter.
    """
    check_name(name)
    return _LABELS[name]


def chip_size(name: str) -> ChipSize:
    """The chips of a segmenter with a stored name ("landcover-1"), known before it is built.

    Raises:
        SegmenterError: this installation has no such segmenter.
    """
    built_from, _, version = name.rpartition("-")
    if built_from not in _CHIPS or not version.isdecimal():
        raise SegmenterError(f"this installation has no segmenter {name!r}: measure again")
    return _CHIPS[built_from]


def can_prompt(name: str) -> bool:
    """Whether a stored segmenter's name ("sam3-tiny-1") is one that can be asked at a click.

    False also where torch is not installed.
    """
    return promptable_name(name) is not None and find_spec("torch") is not None


def promptable_name(name: str) -> str | None:
    """The name of a stored segmenter ("sam3-tiny-1") without its version, if it takes clicks."""
    built_from, _, version = name.rpartition("-")
    return built_from if built_from in _PROMPTABLE and version.isdecimal() else None


def build_promptable(name: str, weights: str | None = None) -> PromptableSegmenter:
    """The segmenter with a stored name ("sam3-tiny-1"), for one chip at a time, not compiled.

    Args:
        weights: for sam3, as for `build_segmenter`.

    Raises:
        SegmenterError: it cannot be asked at a click, it is of another version, or its weights
            cannot be loaded.
    """
    built_from = promptable_name(name)
    if built_from is None:
        raise SegmenterError(f"the segmenter {name!r} cannot be asked at a click: draw the outline")
    segmenter = build_segmenter(built_from, weights, for_clicks=True)
    if segmenter.name != name or not isinstance(segmenter, PromptableSegmenter):
        raise SegmenterError(
            f"the segmenter here is {segmenter.name}, and {name} measured: measure again"
        )
    return segmenter


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
        SegmenterError: no such segmenter, one whose weights are not in this installation, sam3
            without weights, or a wrong path.
    """
    check_name(name)
    if name == "landcover" and weights:
        check_weights_folder(Path(weights))
    if name in _SHIPPED and not _shipped_folder(name).joinpath("model.safetensors").is_file():
        raise WeightsMissing(
            f"the weights of {name} are not in this installation. Install Lotline again, train "
            f"them with `lotline train {name}`, or choose another segmenter"
        )
    if name != "sam3":
        return
    if not weights:
        raise WeightsMissing(
            "the segmenter sam3 needs weights (sam3-nano has its own): a folder, a file "
            "(.safetensors or Meta's sam3.pt) or a hub id such as facebook/sam3"
        )
    check_source(weights)


def build_segmenter(
    name: str, weights: str | None = None, *, for_clicks: bool = False
) -> Segmenter:
    """Build the segmenter with a name from `SEGMENTERS`.

    Args:
        weights: for sam3, in a form that `segmenters.sam3.weights` lists; for landcover, a folder
            that `lotline train` wrote, instead of the package's own; for sam3-tiny and sam3-nano, a
            delta of the package's own. None need any but sam3.
        for_clicks: for single chips and prompts of any number, so without a compilation.

    Raises:
        SegmenterError: no such segmenter, weights that cannot be loaded, or torch or transformers
            is not installed.
    """
    check_segmenter(name, weights)
    try:
        if name == "spectral":
            from detection.segmenters.spectral import Spectral

            return Spectral()
        if name == "landcover":
            from detection.segmenters.landcover.segmenter import Landcover

            return Landcover(Path(weights) if weights else None)
        from detection.segmenters.sam3.segmenter import CHIP_PX, Sam3
        from detection.segmenters.sam3.weights import load_weights
    except ModuleNotFoundError as error:
        raise SegmenterError(
            f"segmenter {name!r} needs the package {error.name}: install lotline[detection]"
        ) from error
    source = weights if weights and name == "sam3" else str(_shipped_folder(name))
    if weights and name in _SHIPPED:
        source = f"{source}{os.pathsep}{weights}"
    chip_px = _SHIPPED[name][1] if name in _SHIPPED else CHIP_PX
    if for_clicks:
        return Sam3(load_weights(source), name, batch=1, fast=False, chip_px=chip_px)
    return Sam3(load_weights(source), name, chip_px=chip_px)


def base_sha256(name: str, weights: str | None = None) -> str:
    """The SHA-256 of what deltas of a SAM3 are put on, read without building it.

    Args:
        weights: for sam3, as for `build_segmenter`; a delta in it is left out.

    Raises:
        SegmenterError: the segmenter takes no deltas, its weights cannot be read, or torch or
            transformers is not installed.
    """
    check_name(name)
    if name not in _PROMPTABLE:
        raise SegmenterError(f"{name} has whole weights, no deltas")
    check_segmenter(name, weights if name == "sam3" else None)
    try:
        from detection.segmenters.sam3.weights import source_sha256
    except ModuleNotFoundError as error:
        raise SegmenterError(
            f"segmenter {name!r} needs the package {error.name}: install lotline[detection]"
        ) from error
    if name in _SHIPPED:
        return source_sha256(str(_shipped_folder(name)))
    return source_sha256((weights or "").split(os.pathsep)[0])


def _shipped_folder(name: str) -> Traversable:
    return files("detection.segmenters.sam3").joinpath(_SHIPPED[name][0])
