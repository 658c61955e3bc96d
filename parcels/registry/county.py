"""The keys that a registry entry may have, validated: County and its parts."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from parcels.registry.entry_model import EntryModel
from parcels.registry.unparsed_value import Unparsed
from parcels.registry.validators import (
    arcgis_url,
    check_headers,
    host_name,
    resolve,
    text_encoding,
    variable_name,
    web_address,
)

CountyKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]
NonEmptyText = Annotated[str, Field(min_length=1)]
# Keys that only make sense with an ArcGIS server.
_SERVER_KEYS = ("headers", "legacy_tls", "token", "calls_in_flight", "calls_per_second")
LayerId = Annotated[int, Field(ge=0)]


class ParcelFields(EntryModel):
    """Column mapping of the parcel layer; no other column is ever fetched.

    Attributes:
        parcel_type: the column that tells lots from rights of way and water.
        address: the column with the full address.
        street: the columns of the street name, in order (direction, name, suffix).
    """

    parcel_id: NonEmptyText | None = None
    parcel_type: NonEmptyText | None = None
    address: NonEmptyText | None = None
    house_number: NonEmptyText | None = None
    street: Annotated[tuple[NonEmptyText, ...], Field(min_length=1)] | None = None
    unit: NonEmptyText | None = None
    city: NonEmptyText | None = None
    postcode: NonEmptyText | None = None

    @field_validator("street", mode="before")
    @classmethod
    def _accept_single_column(cls, street: object) -> object:
        return (street,) if isinstance(street, str) else street

    @property
    def has_addresses(self) -> bool:
        """Whether addresses can be looked up and house numbers compared."""
        return self.address is not None or None not in (self.house_number, self.street)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every mapped column once, the parcel id first."""
        street = self.street or ()
        columns = (self.parcel_id, self.parcel_type, self.address, self.house_number, *street)
        columns += (self.unit, self.city, self.postcode)
        return tuple(dict.fromkeys(column for column in columns if column is not None))


class ArcGISLayerEntry(EntryModel):
    """A layer of an ArcGIS MapServer or FeatureServer."""

    url: NonEmptyText
    layer: LayerId

    @field_validator("url")
    @classmethod
    def _check_service_url(cls, url: str) -> str:
        return arcgis_url(url, ("MapServer", "FeatureServer"))


class TokenEntry(EntryModel):
    """Token authentication: names of environment variables, never secrets.

    Either `env` names a variable that holds a token, or `url` (`…/tokens/generateToken`) issues
    one for the user name in `username_env` and the password in `password_env`.
    """

    env: NonEmptyText | None = None
    url: NonEmptyText | None = None
    username_env: NonEmptyText | None = None
    password_env: NonEmptyText | None = None

    @field_validator("env", "username_env", "password_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        return None if name is None else variable_name(name)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return None if url is None else web_address(url)

    @model_validator(mode="after")
    def _check_one_method(self) -> TokenEntry:
        login = (self.url, self.username_env, self.password_env)
        if (self.env is None) == (None in login) or (self.env is not None and any(login)):
            raise ValueError("write either 'env', or 'url', 'username_env' and 'password_env'")
        return self


class SyntheticEntry(EntryModel):
    """A generated county with exact ground truth; not a real place."""

    seed: int = 2026
    lots: Annotated[int, Field(ge=4, le=20_000)] = 200


class County(EntryModel):
    """A county: exactly one of `url` with `layer`, `path`, or `synthetic`; the rest is optional.

    Attributes:
        key: the entry's name in the registry.
        layer: the number of a server's layer; of a file with several, the name or the number.
        path: absolute; a file or folder of parcels: see `parcels.files`.
        encoding: the encoding of a file's text, for example "cp1252"; by default the file's own.
        alternates: fallback layers, tried in order while the first is unavailable.
        where: an SQL filter on the parcels, for example to leave out rights of way.
        crs: the CRS of a file, for example "EPSG:2274"; takes precedence over the file's own.
        extent: (west, south, east, north) in degrees; points outside are rejected. West is more
            than east in an extent across longitude 180.
        imagery, lot_offset_m, line_tolerance_m, labels: owned by `detection` and not parsed here;
            `DetectionCounty` validates them too.
        properties: absolute path of the default CSV of properties for a batch.
        allow_private: whether its servers (parcels and imagery) may be on private or loopback
            addresses; by default these are refused (SSRF protection).
        headers: added to every request to its parcel servers, for example a Referer.
        legacy_tls: hosts that need legacy TLS renegotiation (before RFC 5746); certificates
            are still checked.
        token: token authentication, if the service needs it.
        calls_in_flight: maximum number of concurrent requests to each host.
        calls_per_second: rate limit of each host.
        geocode_server: an ArcGIS GeocodeServer for addresses of this county.
        census: whether addresses that the county does not know are sent to the US Census geocoder.
        verified: the date of the last successful `lotline registry verify`.
    """

    key: CountyKey
    name: NonEmptyText = ""
    state: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    fips: Annotated[str, Field(pattern=r"^\d{5}$")] | None = None
    url: NonEmptyText | None = None
    layer: int | str | None = None
    alternates: tuple[ArcGISLayerEntry, ...] = ()
    path: Path | None = None
    encoding: NonEmptyText | None = None
    synthetic: SyntheticEntry | None = None
    fields: ParcelFields = ParcelFields()
    where: NonEmptyText | None = None
    crs: NonEmptyText | None = None
    extent: tuple[float, float, float, float] | None = None
    imagery: Unparsed = None
    lot_offset_m: Unparsed = None
    line_tolerance_m: Unparsed = None
    labels: Unparsed = None
    properties: Path | None = None
    allow_private: bool = False
    headers: dict[NonEmptyText, NonEmptyText] = Field(default_factory=dict)
    legacy_tls: tuple[NonEmptyText, ...] = ()
    token: TokenEntry | None = None
    calls_in_flight: Annotated[int, Field(ge=1, le=16)] = 2
    calls_per_second: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 4.0
    geocode_server: NonEmptyText | None = None
    census: bool = True
    verified: datetime.date | None = None

    nested_models: ClassVar = {
        "fields": ParcelFields,
        "synthetic": SyntheticEntry,
        "alternates": ArcGISLayerEntry,
        "token": TokenEntry,
    }
    hints: ClassVar = {
        "key": "write the county's name with a-z, digits, '-' and '_' only",
        "fips": "write five digits in quotes",
        "state": "write two capital letters",
        "layer": "write the layer's number, for example layer: 0",
        "headers": "write the headers as {Referer: https://…}",
        "legacy_tls": "write a list of hosts, for example [gis.county.gov]",
        "calls_in_flight": "write a whole number from 1 to 16",
        "calls_per_second": "write a number above 0, up to 100",
        "census": "write true or false",
        "allow_private": "write true or false",
        "verified": "write a date, for example 2026-05-31",
        "geocode_server": "write the URL of a GeocodeServer",
    }
    list_hints: ClassVar = {"extent": "write [west, south, east, north] in degrees"}

    @property
    def source(self) -> Literal["arcgis", "file", "synthetic"]:
        """The kind of source its parcels come from."""
        if self.url is not None:
            return "arcgis"
        return "file" if self.path is not None else "synthetic"

    @property
    def layers(self) -> tuple[ArcGISLayerEntry, ...]:
        """The ArcGIS layers in the order in which they are tried; empty for a file."""
        if self.url is None or not isinstance(self.layer, int):
            return ()
        return (ArcGISLayerEntry(url=self.url, layer=self.layer), *self.alternates)

    @field_validator("url")
    @classmethod
    def _check_service_url(cls, url: str | None) -> str | None:
        return None if url is None else arcgis_url(url, ("MapServer", "FeatureServer"))

    @field_validator("layer", mode="before")
    @classmethod
    def _check_layer(cls, layer: object, info: ValidationInfo) -> object:
        if layer is None or (type(layer) is int and layer >= 0):
            return layer
        is_server = info.data.get("url") is not None
        if is_server and isinstance(layer, str) and layer.strip().isdecimal():
            return int(layer)
        if isinstance(layer, str) and layer.strip() and not is_server:
            return layer
        hint = "" if is_server else "; of a file, also its name"
        raise ValueError(
            f"{str(layer)[:80]!r} is wrong; write the layer's number, for example layer: 0{hint}"
        )

    @field_validator("encoding", mode="before")
    @classmethod
    def _check_encoding(cls, encoding: object) -> object:
        # YAML reads 1252 as a number.
        is_name = isinstance(encoding, str | int) and not isinstance(encoding, bool)
        return text_encoding(str(encoding)) if is_name else encoding

    @field_validator("geocode_server")
    @classmethod
    def _check_geocode_server(cls, url: str | None) -> str | None:
        return None if url is None else arcgis_url(url, ("GeocodeServer",))

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        return check_headers(headers)

    @field_validator("legacy_tls")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host_name(host) for host in hosts)

    @field_validator("fips", mode="before")
    @classmethod
    def _require_quoted_fips(cls, fips: object) -> object:
        # YAML reads an unquoted 06037 as the octal number 3103.
        if isinstance(fips, int):
            if 10_000 <= fips <= 99_999:
                return str(fips)
            raise ValueError('write it in quotes, for example "06037"')
        return fips

    @field_validator("path", "properties", mode="before")
    @classmethod
    def _resolve_path(cls, path: object, info: ValidationInfo) -> object:
        # Before pydantic makes it a Path, which would turn http://x into http:/x.
        return resolve(str(path), info) if isinstance(path, str | Path) else path

    @field_validator("crs", mode="before")
    @classmethod
    def _accept_epsg_code(cls, crs: object) -> object:
        return f"EPSG:{crs}" if type(crs) is int else crs

    @field_validator("crs")
    @classmethod
    def _check_crs(cls, crs: str | None) -> str | None:
        if crs is None:
            return None
        # Imported late: few entries have a CRS, and the import is slow.
        from pyproj import CRS
        from pyproj.exceptions import CRSError

        try:
            CRS.from_user_input(crs)
        except CRSError:
            raise ValueError(f"{crs!r} is not a valid CRS; write for example EPSG:2274") from None
        return crs

    @field_validator("extent")
    @classmethod
    def _check_extent(
        cls, extent: tuple[float, float, float, float] | None
    ) -> tuple[float, float, float, float] | None:
        if extent is None:
            return None
        west, south, east, north = extent
        is_across_180 = 180 >= west > 0 > east >= -180 and east + 360 - west < 180
        if (-180 <= west < east <= 180 or is_across_180) and -90 <= south < north <= 90:
            return extent
        raise ValueError("write [west, south, east, north] in degrees")

    @model_validator(mode="after")
    def _check_one_source(self) -> County:
        given = [k for k in ("url", "path", "synthetic") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"has both {given[0]!r} and {given[1]!r}; keep one of them")
        if not given:
            missing = "'url' is missing" if self.layer is not None else "has no parcels"
            raise ValueError(f"{missing}; write 'url' and 'layer', or 'path'")
        if self.url is not None and self.layer is None:
            raise ValueError("'layer' is missing; write the layer's number, for example layer: 0")
        if self.url is None:
            misplaced = "alternates" if self.alternates else None
            if self.layer is not None and self.path is None:
                misplaced = "layer"
            if misplaced is not None:
                raise ValueError(f"{misplaced!r} goes with 'url', not with {given[0]!r}; remove it")
        return self

    @model_validator(mode="after")
    def _check_keys_of_sources(self) -> County:
        if self.encoding is not None and self.path is None:
            raise ValueError("'encoding' goes with 'path'; remove it")
        if self.url is None:
            given = [key for key in _SERVER_KEYS if key in self.model_fields_set]
            if given:
                raise ValueError(f"{given[0]!r} goes with 'url'; remove it")
        hosts = {urlsplit(url).hostname for url in self._urls}
        unknown = [host for host in self.legacy_tls if host not in hosts]
        if unknown:
            raise ValueError(
                f"'legacy_tls': no URL of the entry has the host {unknown[0]!r}; remove it"
            )
        token_url = self.token.url if self.token is not None else None
        if token_url is not None and token_url.startswith("http:") and not self.allow_private:
            raise ValueError(
                "'token.url' receives a password; write a URL that starts with https://"
            )
        return self

    @property
    def _urls(self) -> list[str]:
        given = (self.geocode_server, self.token.url if self.token is not None else None)
        return [layer.url for layer in self.layers] + [url for url in given if url is not None]

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, entry: object) -> object:
        if isinstance(entry, dict) and not entry.get("name"):
            return {**entry, "name": str(entry.get("key", ""))}
        return entry
