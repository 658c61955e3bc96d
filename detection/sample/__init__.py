"""The sample county: a synthetic neighbourhood from a seed, with imagery and exact truth."""

from detection.sample.county import SampleCounty, generate, is_current, load
from detection.sample.entry import generated_county, generated_files
from detection.sample.truth import LawnErrors, LotError, lawn_errors, true_areas_m2

__all__ = [
    "LawnErrors",
    "LotError",
    "SampleCounty",
    "generate",
    "generated_county",
    "generated_files",
    "is_current",
    "lawn_errors",
    "load",
    "true_areas_m2",
]
