"""registry.yaml merged over the shipped US layers -> validated counties.

An entry needs only `url` and `layer`, or `path`. An entry with the key of a shipped layer and
without parcels of its own is merged over it: `shelby-al: {imagery: …}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from parcels.errors import RegistryError
from parcels.registry.county import County
from parcels.registry.county_search import find_key, unknown_county_message
from parcels.registry.entry import CountyT, validate_entry
from parcels.registry.shipped_layers import SHIPPED, ShippedLayers, shipped_layers
from parcels.registry.yaml_file import read_entries

CountyT_co = TypeVar("CountyT_co", bound=County, covariant=True)

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCE_KEYS = ("url", "path", "synthetic")


class Registry(Mapping[str, CountyT_co]):
    """The counties of a registry file by key; `county` also finds the shipped ones."""

    def __init__(
        self,
        counties: Mapping[str, CountyT_co],
        path: Path,
        shipped: ShippedLayers,
        county_type: type[CountyT_co],
    ) -> None:
        self._counties = dict(counties)
        self._county_type = county_type
        self._shipped = shipped
        self.path = path

    def __getitem__(self, key: str) -> CountyT_co:
        return self._counties[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counties)

    def __len__(self) -> int:
        return len(self._counties)

    def county(self, name: str) -> CountyT_co:
        """The county with this key or name; results are stored under its `key`.

        Raises:
            RegistryError: unknown, or several counties have the name; the message lists them.
        """
        key = self.key_of(name)
        return self._counties[key] if key in self._counties else self._shipped_county(key)

    def key_of(self, name: str) -> str:
        """The key of a county: "Montrose County, CO" and the FIPS code "08085" are montrose-co.

        Raises:
            RegistryError: unknown, or several counties have the name; the message lists them.
        """
        try:
            key = find_key(name, self._counties, self._shipped)
        except RegistryError as error:
            raise RegistryError(f"{self.path}: {error}") from None
        if key is None:
            raise RegistryError(f"{self.path}: {unknown_county_message(name, self, self._shipped)}")
        return key

    def shipped(self, state: str | None = None) -> Iterator[CountyT_co]:
        """The shipped counties, of one state or all, without those that the file has too."""
        return map(self._shipped_county, self.shipped_keys(state))

    def shipped_keys(self, state: str | None = None) -> list[str]:
        """The keys of `shipped`, without validating the entries."""
        ending = "" if state is None else f"-{state.lower()}"
        return [k for k in self._shipped if k.endswith(ending) and k not in self._counties]

    def _shipped_county(self, key: str) -> CountyT_co:
        try:
            return validate_entry(key, self._shipped[key], None, self._county_type)
        except RegistryError as error:
            raise RegistryError(_with_location(SHIPPED, key, error)) from error


@overload
def load_registry(path: Path | str | None = None) -> Registry[County]: ...


@overload
def load_registry(path: Path | str | None, county_type: type[CountyT]) -> Registry[CountyT]: ...


def load_registry(
    path: Path | str | None = None, county_type: type[County] = County
) -> Registry[County]:
    """Read and validate a registry file; None reads the shipped one.

    Relative paths in the file are resolved against its folder. County carries the keys of
    imagery and labels unparsed; with `detection.registry.county.DetectionCounty` as the
    `county_type` they are validated too.

    Raises:
        RegistryError: the file cannot be read, or an entry is wrong; a line for each mistake,
            with file, county, key and what to write instead.
    """
    file = default_registry() if path is None else Path(path)
    shipped = shipped_layers()
    counties: dict[str, County] = {}
    mistakes: list[str] = []
    for key, entry in read_entries(file).items():
        try:
            merged = _merge_over_shipped(key, entry, shipped)
            counties[key] = validate_entry(key, merged, file, county_type)
        except RegistryError as error:
            mistakes.append(_with_location(file, key, error))
    if mistakes:
        raise RegistryError("\n".join(mistakes))
    return Registry(counties, file, shipped, county_type)


def default_registry() -> Path:
    """The shipped registry file."""
    # A wheel has the file inside the package, a clone at the repository root.
    packed = _PACKAGE / "data" / "registry.yaml"
    return packed if packed.exists() else _PACKAGE.parent / "registry.yaml"


def is_packed(file: Path) -> bool:
    """Whether a file belongs to the installed package, so that it must not be edited."""
    return file.resolve().is_relative_to(_PACKAGE)


def _merge_over_shipped(key: str, entry: object, shipped: ShippedLayers) -> object:
    """The entry merged over the shipped one with its key; `fields` are merged column by column."""
    if not isinstance(entry, dict) or key not in shipped or any(k in entry for k in _SOURCE_KEYS):
        return entry
    base = shipped[key]
    fields, own_fields = base.get("fields", {}), entry.get("fields", {})
    merged: dict[Any, Any] = {**base, **entry}
    if isinstance(own_fields, dict) and (fields or own_fields):
        merged["fields"] = {**fields, **own_fields}
    return merged


def _with_location(file: Path, key: str, error: RegistryError) -> str:
    return "\n".join(f"{file}: county {key!r}: {line}" for line in str(error).splitlines())
