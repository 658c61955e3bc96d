"""The `imagery` key of a registry entry, validated. Without it a county uses USGS NAIP."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from parcels.errors import RegistryError
from parcels.registry.county import NonEmptyText
from parcels.registry.entry import validation_messages
from parcels.registry.entry_model import EntryModel
from parcels.registry.unparsed_value import UnparsedValue
from parcels.registry.validators import arcgis_url, resolve

USGS_NAIP_URL = "https://imagery.nationalmap.gov/arcgis/rest/services/USGSNAIPPlus/ImageServer"
_USGS_NAIP = {"url": USGS_NAIP_URL, "bands": ("red", "green", "blue", "nir"), "gsd_m": 0.6}
# Key -> what to write instead of an invalid value.
IMAGERY_HINTS = {"imagery.chip_gsd_m": "write metres a pixel, for example 0.3"}
_GLOB_CHARACTERS = "*?["

PixelSizeM = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class ImageryEntry(EntryModel):
    """Where a county's imagery is: local files (`path`) or an ImageServer (`url`).

    Attributes:
        path: an absolute file, folder or glob; several files form one mosaic.
        bands: band names in order; None reads them from the files, or from the band count.
        captured_on: an ISO 8601 date, or only the year.
        gsd_m: the pixel size in metres that an ImageServer is requested in.
        chip_gsd_m: the pixel size in metres of the chips that a model gets; None leaves it to
            the model. An entry with this key alone uses USGS NAIP.
    """

    path: NonEmptyText | None = None
    url: NonEmptyText | None = None
    bands: tuple[NonEmptyText, ...] | None = None
    captured_on: str | None = None
    gsd_m: PixelSizeM | None = None
    chip_gsd_m: PixelSizeM | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_to_naip(cls, entry: object) -> object:
        if isinstance(entry, dict) and entry.keys() == {"chip_gsd_m"}:
            return {**_USGS_NAIP, **entry}
        return entry

    @field_validator("path")
    @classmethod
    def _resolve_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        return None if path is None else _resolve_glob(path, info)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return None if url is None else arcgis_url(url, ("ImageServer",))

    @field_validator("captured_on", mode="before")
    @classmethod
    def _parse_date(cls, value: object) -> object:
        text = str(value) if isinstance(value, int | datetime.date) else value
        if text is None:
            return None
        if isinstance(text, str) and re.fullmatch(r"(19|20)\d\d", text):
            return text
        try:
            return datetime.date.fromisoformat(str(text)).isoformat()
        except ValueError:
            raise ValueError(f"{text!r} is not a date; write 2020-05-31, or 2020") from None

    @model_validator(mode="after")
    def _check_one_location(self) -> ImageryEntry:
        if (self.path is None) == (self.url is None):
            raise ValueError("write either 'path' (GeoTIFFs) or 'url' (an ImageServer)")
        return self


class _ImageryKey(EntryModel):
    """An entry reduced to its `imagery` key, so that messages name the key as in the file."""

    imagery: ImageryEntry

    nested_models: ClassVar = {"imagery": ImageryEntry}
    hints: ClassVar = IMAGERY_HINTS


def usgs_naip() -> ImageryEntry:
    """The imagery of an entry without `imagery`: USGS NAIP, which needs no API key."""
    return ImageryEntry.model_validate(_USGS_NAIP)


def parse_imagery(imagery: UnparsedValue | None) -> ImageryEntry:
    """The imagery of a plain `parcels.County`, which carries the key unparsed.

    Raises:
        RegistryError: a line for each mistake, with county, key and what to write instead.
    """
    if imagery is None:
        return usgs_naip()
    written: dict[str, Any] = {"imagery": imagery.value}
    try:
        return _ImageryKey.model_validate(written, context={"folder": imagery.folder}).imagery
    except ValidationError as error:
        lines = (f"{imagery.location}: {line}" for line in validation_messages(error, _ImageryKey))
        raise RegistryError("\n".join(lines)) from error


def _resolve_glob(path: str, info: ValidationInfo) -> str:
    """The absolute glob; relative ones are taken from the folder of the registry file.

    Raises:
        ValueError: not a path on this machine, or it would search the whole machine.
    """
    absolute = resolve(path, info)
    literal: list[str] = []
    for part in absolute.parts:
        if any(character in part for character in _GLOB_CHARACTERS):
            break
        literal.append(part)
    folder = Path(*literal).resolve()
    if folder == Path(folder.anchor):
        raise ValueError(f"{path!r} searches the whole machine; name the folder of the pictures")
    return str(absolute)
