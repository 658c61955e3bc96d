"""What a county's entry means for detection: one meaning, for a batch and for `Detector`."""

from __future__ import annotations

from detection.clip import LotLines
from detection.imagery import ImagerySource, open_imagery
from detection.registry.county import DetectionCounty


def open_county_imagery(county: DetectionCounty) -> ImagerySource:
    """The county's imagery; several threads may share it.

    Raises:
        ImageryError: the imagery is configured wrongly.
    """
    return open_imagery(county.imagery, allow_private=county.allow_private)


def lot_lines(county: DetectionCounty) -> LotLines:
    """The offset and the tolerance of the county's lot lines on its imagery."""
    if county.line_tolerance_m is None:
        return LotLines(county.lot_offset_m)
    return LotLines(county.lot_offset_m, county.line_tolerance_m)


def chip_gsd_m(county: DetectionCounty, segmenter_gsd_m: float | None) -> float | None:
    """The ground sample distance of the chips: the county's, else that of the segmenter.

    None is that of the imagery.
    """
    return county.imagery.chip_gsd_m or segmenter_gsd_m
