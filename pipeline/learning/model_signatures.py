"""What a segmenter's weights take and give, as fields of the STAC extension MLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from detection.segmenters import chip_size
from detection.segmenters.known_labels import LANDCOVER_LABELS
from pipeline.store.models.versions import ModelFacts

# Coarser imagery shows no driveway; finer imagery is resampled.
_GSD_RANGE_M: Final = (0.05, 1.0)
_LANDCOVER_CLASSES: Final = ("other", "lawn", "tree", "roof", "driveway", "pool", "vegetation")
_HYPERPARAMETERS_KEY: Final = "recipe_settings"


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """Input and output of weights.

    Attributes:
        gsd_m: of the network's input; imagery is resampled to it.
        gsd_range_m: of imagery that makes sense.
        bands: that it sees, by their names.
        fields: the item's properties of MLM.
    """

    description: str
    gsd_m: float
    gsd_range_m: tuple[float, float]
    bands: tuple[str, ...]
    fields: Mapping[str, Any]


def signature(facts: ModelFacts) -> ModelSignature:
    """The signature of registered weights."""
    size = chip_size(f"{facts.segmenter}-1")
    gsd_m = size.gsd_m or 0.3
    fields = _landcover() if facts.segmenter == "landcover" else _prompted(size.chip_px)
    settings = (facts.settings or {}).get(_HYPERPARAMETERS_KEY)
    hyperparameters = {"mlm:hyperparameters": dict(settings)} if settings else {}
    common = {
        "mlm:name": facts.segmenter,
        "mlm:framework": "PyTorch",
        "mlm:pretrained": True,
        # The weights that the training began with; null is from scratch.
        "mlm:pretrained_source": None
        if facts.base_sha256 is None
        else f"urn:sha256:{facts.base_sha256}",
        "mlm:accelerator_constrained": False,
        "mlm:batch_size_suggestion": 1,
    }
    finds = (
        f"finds {', '.join(LANDCOVER_LABELS)}"
        if facts.segmenter == "landcover"
        else "finds what a text prompt names"
    )
    return ModelSignature(
        f"The segmenter {facts.segmenter} of Lotline: {finds} on aerial images",
        gsd_m,
        _GSD_RANGE_M,
        tuple(fields["mlm:input"][0]["bands"]),
        {**common, **fields, **hyperparameters},
    )


def _landcover() -> dict[str, Any]:
    return {
        "mlm:architecture": "U-Net",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:input": [
            _input(
                "chip",
                ("red", "green", "blue", "nir"),
                (-1, 4, -1, -1),
                "8 bit values; nir is 0 where the imagery has none; sides are multiples of 32",
                "detection.segmenters.landcover.preprocess:input_pixels",
            )
        ],
        "mlm:output": [
            {
                "name": "logits",
                "tasks": ["semantic-segmentation"],
                "bands": [],
                "description": "cells of two pixels; a softmax over the first six classes, and a "
                "sigmoid for vegetation",
                "result": {
                    "shape": [-1, len(_LANDCOVER_CLASSES), -1, -1],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    {"value": value, "name": name, "description": name}
                    for value, name in enumerate(_LANDCOVER_CLASSES)
                ],
            }
        ],
    }


def _prompted(chip_px: int) -> dict[str, Any]:
    return {
        "mlm:architecture": "SAM3",
        "mlm:tasks": ["instance-segmentation", "semantic-segmentation"],
        "mlm:input": [
            _input(
                "chip",
                ("red", "green", "blue"),
                (-1, 3, chip_px, chip_px),
                "8 bit values, with a text prompt for each label",
                "detection.segmenters.sam3.preprocess:preprocess",
            )
        ],
        "mlm:output": [
            {
                "name": "masks",
                "tasks": ["instance-segmentation", "semantic-segmentation"],
                "bands": [],
                "description": "for each prompt: masks of the objects, their scores, and a mask "
                "of the whole class",
                "result": {
                    "shape": [-1, -1, -1, -1],
                    "dim_order": ["batch", "object", "height", "width"],
                    "data_type": "float32",
                },
            }
        ],
    }


def _input(
    name: str, bands: Sequence[str], shape: Sequence[int], description: str, function: str
) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "bands": list(bands),
        "input": {
            "shape": list(shape),
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [{"type": "z-score", "mean": 127.5, "stddev": 127.5}],
        "resize_type": "interpolation-linear",
        "pre_processing_function": {"format": "python", "expression": function},
    }
