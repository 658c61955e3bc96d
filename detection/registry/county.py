"""A registry entry: the keys that detection owns, and those of `parcels`, validated together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from detection.registry.imagery_entry import IMAGERY_HINTS, ImageryEntry, usgs_naip
from detection.registry.label_entry import LABEL_HINTS, LabelEntries, LabelEntry
from parcels.errors import RegistryError
from parcels.registry.county import County
from parcels.registry.entry import validation_messages
from parcels.registry.unparsed_value import UnparsedValue

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


def detection_county(county: County) -> DetectionCounty:
    """A county whose imagery, labels and lot-line keys are validated.

    Takes that of `load_registry()`, which carries these keys unparsed.

    Raises:
        RegistryError: a line for each mistake, with county, key and what to write instead.
    """
    if isinstance(county, DetectionCounty):
        return county
    values: dict[str, Any] = {name: getattr(county, name) for name in county.model_fields_set}
    folder, location = Path(), f"county {county.key!r}"
    for name, value in values.items():
        if isinstance(value, UnparsedValue):
            values[name], folder, location = value.value, value.folder, value.location
    try:
        return DetectionCounty.model_validate(values, context={"folder": folder})
    except ValidationError as error:
        lines = (f"{location}: {line}" for line in validation_messages(error, DetectionCounty))
        raise RegistryError("\n".join(lines)) from error
