"""A segmenter with registered weights, built in whatever process needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from detection.segmenters import build_segmenter
from pipeline.errors import ModelError
from pipeline.store.models.model_files import fetch_files
from pipeline.store.models.versions import ModelFacts

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter

MODEL_CACHE: Final = "models"
"""The folder below LOTLINE_HOME that has fetched weights."""


def build_promoted(facts: ModelFacts, cache: Path) -> Segmenter:
    """Fetch the weights and build their segmenter, which must report their hash.

    Raises:
        ModelError: the files are missing or damaged, or have other weights.
        ObjectStoreError: they cannot be read.
        SegmenterError: they do not fit this version of the segmenter.
    """
    segmenter = build_segmenter(facts.segmenter, str(fetch_files(facts, cache)))
    if segmenter.weights_sha256 != facts.weights_sha256:
        raise ModelError(
            f"the registered weights of {facts.segmenter} have the hash "
            f"{(segmenter.weights_sha256 or 'none')[:12]}, not {facts.weights_sha256[:12]}: go "
            f"back with `lotline models rollback {facts.segmenter}`"
        )
    return segmenter
