"""The `imagery` key of a registry entry, validated. Without it a county uses USGS NAIP."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pyproj import CRS
from pyproj.exceptions import CRSError

from detection.registry.imagery_url import (
    ImageryKind,
    check_keys,
    cog_url,
    imagery_url,
    kind_of,
)
from parcels.errors import RegistryError
from parcels.registry.county import NonEmptyText
from parcels.registry.entry import validation_messages
from parcels.registry.entry_model import EntryModel
from parcels.registry.unparsed_value import UnparsedValue
from parcels.registry.validators import resolve, variable_name

USGS_NAIP_URL = "https://imagery.nationalmap.gov/arcgis/rest/services/USGSNAIPPlus/ImageServer"
_USGS_NAIP = {"url": USGS_NAIP_URL, "bands": ("red", "green", "blue", "nir"), "gsd_m": 0.6}
# Key -> what to write instead of an invalid value.
IMAGERY_HINTS = {
    "imagery.chip_gsd_m": "write metres a pixel, for example 0.3",
    "imagery.zoom": "write a zoom level from 0 to 24, for example 19",
    "imagery.tile_px": "write the pixels of a tile's side, for example 512",
    "imagery.token": "write {env: NAME}, the name of an environment variable",
}
_GLOB_CHARACTERS = "*?["

Zoom = Annotated[int, Field(ge=0, le=24)]
TilePx = Annotated[int, Field(ge=64, le=4096)]
PixelSizeM = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class ImageryToken(EntryModel):
    """A key of a tile server: the name of an environment variable, never the key."""

    env: NonEmptyText

    @field_validator("env")
    @classmethod
    def _check_variable(cls, name: str) -> str:
        return variable_name(name)


class ImageryEntry(EntryModel):
    """Where a county's imagery is: local files (`path`) or a server (`url`).

    Attributes:
        path: an absolute file, folder or glob; several files form one mosaic.
        bands: band names in order; None reads them from the files, or from the band count.
        captured_on: an ISO 8601 date, or only the year.
        url: of a server or a COG; see `detection.registry.imagery_url`.
        stac: a STAC item, item collection or catalog: an absolute path or an address.
        asset: the key of the items' asset; by default `image`, `visual`, `data` or the only TIFF.
        gsd_m: the pixel size in metres that an ImageServer or a WMS is requested in.
        zoom: the zoom level of XYZ tiles, or the tile matrix of a WMTS.
        layers: of a WMS or WMTS; also written as `layer`.
        licence: what tiles may be used for; shown in reports.
        crs: of the files, which takes precedence over their own; or of the requests to a WMS.
        styles: of a WMS.
        matrix_set: of a WMTS.
        tile_px: the side of a tile, where it is not 256.
        token: the key that `{token}` in the URL stands for.
        nodata: pixels that are no imagery: a value, or one per band; () for `none`: all are
            imagery; None leaves it to masks and nodata values of the files, and to a search for
            fill.
        chip_gsd_m: the pixel size in metres of the chips that a model gets; None leaves it to
            the model. An entry with this key alone uses USGS NAIP.
    """

    path: NonEmptyText | None = None
    layers: tuple[NonEmptyText, ...] | None = None  # before the URL, which is judged with it
    url: NonEmptyText | None = None
    stac: NonEmptyText | None = None
    bands: tuple[NonEmptyText, ...] | None = None
    captured_on: str | None = None
    nodata: tuple[float, ...] | None = None
    gsd_m: PixelSizeM | None = None
    zoom: Zoom | None = None
    licence: NonEmptyText | None = None
    asset: NonEmptyText | None = None
    crs: NonEmptyText | None = None
    styles: str | None = None
    matrix_set: NonEmptyText | None = None
    tile_px: TilePx | None = None
    token: ImageryToken | None = None
    chip_gsd_m: PixelSizeM | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_to_naip(cls, entry: object) -> object:
        if isinstance(entry, dict) and entry.keys() == {"chip_gsd_m"}:
            return {**_USGS_NAIP, **entry}
        return entry

    @model_validator(mode="before")
    @classmethod
    def _name_layers(cls, entry: object) -> object:
        """`layer: a`, `layers: a` and `layers: "a,b"` as a list."""
        if not isinstance(entry, dict):
            return entry
        named = dict(entry)
        if "layer" in named and "layers" not in named:
            named["layers"] = named.pop("layer")
        if "license" in named and "licence" not in named:
            named["licence"] = named.pop("license")
        layers = named.get("layers")
        if isinstance(layers, str | int) and not isinstance(layers, bool):
            named["layers"] = [name.strip() for name in str(layers).split(",")]
        return named

    @field_validator("path")
    @classmethod
    def _resolve_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        return None if path is None else _resolve_glob(path, info)

    @field_validator("stac")
    @classmethod
    def _check_stac(cls, stac: str | None, info: ValidationInfo) -> str | None:
        if stac is None:
            return None
        return cog_url(stac) if "://" in stac else str(resolve(stac, info))

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        has_layers = bool(info.data.get("layers"))
        return None if url is None else imagery_url(url, has_layers=has_layers)

    @field_validator("crs", mode="before")
    @classmethod
    def _check_crs(cls, crs: object) -> object:
        if crs is None or str(crs).upper() == "CRS:84":
            return crs
        name = f"EPSG:{crs}" if type(crs) is int else str(crs)
        try:
            CRS.from_user_input(name)
        except CRSError:
            raise ValueError(f"{name!r} is not a valid CRS; write for example EPSG:6344") from None
        return name

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

    @field_validator("nodata", mode="before")
    @classmethod
    def _parse_nodata(cls, value: object) -> object:
        return None if value is None else _nodata_values(value)

    @field_serializer("nodata", when_used="json-unless-none")
    def _write_nodata(self, values: tuple[float, ...]) -> object:
        """As it is written in an entry; JSON has no NaN."""
        return ["nan" if math.isnan(value) else value for value in values] or "none"

    @model_validator(mode="after")
    def _check_one_location(self) -> ImageryEntry:
        if sum(place is not None for place in (self.path, self.url, self.stac)) != 1:
            raise ValueError(
                "write either 'path' (GeoTIFFs) or 'url' (an ImageServer), or 'stac'; one of them"
            )
        check_keys(self.kind, self.model_dump(exclude_none=True))
        return self

    @property
    def kind(self) -> ImageryKind:
        """The kind of source."""
        if self.stac is not None:
            return "stac"
        if self.url is None:
            return "files"
        return kind_of(self.url, has_layers=bool(self.layers)) or "imageserver"


class _ImageryKey(EntryModel):
    """An entry reduced to its `imagery` key, so that messages name the key as in the file."""

    imagery: ImageryEntry

    nested_models: ClassVar = {"imagery": ImageryEntry}
    hints: ClassVar = IMAGERY_HINTS


def _nodata_values(written: object) -> tuple[float, ...]:
    """`none` as (); a value as one of a tuple; `nan` also as text.

    Raises:
        ValueError: neither numbers nor `none`.
    """
    if isinstance(written, str) and written.strip().lower() == "none":
        return ()
    items: Iterable[Any] = written if isinstance(written, list | tuple) else [written]
    values = [math.nan if str(item).strip().lower() == "nan" else item for item in items]
    numbers = [float(value) for value in values if type(value) in (int, float)]
    if len(numbers) < len(values) or not (numbers or written == ()):
        raise ValueError(
            f"{written!r} is not a pixel value; write a number (255), one per band "
            "([255, 255, 255]), or none if every pixel is imagery"
        )
    return tuple(numbers)


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
    if path.startswith(("http://", "https://", "s3://")):
        raise ValueError(
            f"{path!r} is not a local file; write the address of a GeoTIFF or of a server as "
            "'url', and that of a STAC document as 'stac'"
        )
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
