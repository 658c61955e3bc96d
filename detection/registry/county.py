"""A registry entry: the keys that detection owns, and those of `parcels`, validated together."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from detection.registry.imagery_entry import IMAGERY_HINTS, ImageryEntry, usgs_naip
from detection.registry.label_entry import LABEL_HINTS, LabelEntries, LabelEntry
from parcels.registry.county import County

OffsetM = Annotated[float, Field(ge=-50, le=50, allow_inf_nan=False)]


class DetectionCounty(County):
    """A county with its imagery, labels and lot lines: `load_registry(file, DetectionCounty)`.

    Attributes:
        lot_offset_m: (east, north) in metres by which lots are moved to fit the imagery.
        line_tolerance_m: how far lot lines may be off before an object counts as shared by two
            lots; None is the default.
        labels: label name -> a new label, or changes to a known one.
    """

    imagery: ImageryEntry = Field(default_factory=usgs_naip)
    lot_offset_m: tuple[OffsetM, OffsetM] = (0.0, 0.0)
    line_tolerance_m: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    labels: LabelEntries = Field(default_factory=dict)

    nested_models: ClassVar = {
        **County.nested_models,
        "imagery": ImageryEntry,
        "labels": LabelEntry,
    }
    hints: ClassVar = {
        **County.hints,
        **IMAGERY_HINTS,
        **LABEL_HINTS,
        "line_tolerance_m": "write metres, from 0 to 10",
    }
    list_hints: ClassVar = {
        **County.list_hints,
        "lot_offset_m": "write [east, north] in metres, from -50 to 50",
    }
