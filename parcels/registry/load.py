"""registry.yaml over the US layers that are shipped -> validated counties.

An entry needs only `url` and `layer`, or `path`. One that has the key of a shipped layer and no
parcels of its own is laid over it: `shelby-al: {imagery: …}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from parcels.catalogue.county_search import find_key, unknown_county_message
from parcels.catalogue.shipped_layers import SHIPPED, ShippedLayers, shipped_layers
from parcels.errors import RegistryError
from parcels.registry.county import County
from parcels.registry.entry import CountyT, validate_entry
from parcels.registry.yaml_file import read_entries

CountyT_co = TypeVar("CountyT_co", bound=County, covariant=True)

_HERE = Path(__file__).resolve().parent.parent
_PARCELS = ("url", "path", "synthetic")


class Registry(Mapping[str, CountyT_co]):
    """The counties of a registry file by their keys; `county` knows the shipped ones too."""

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
        """The county of this key or name; its `key` is what results are kept under.

        Raises:
            RegistryError: there is none, or several have the name; it lists those there are.
        """
        key = self.key_of(name)
        return self._counties[key] if key in self._counties else self._of_shipped(key)

    def key_of(self, name: str) -> str:
        """The key of a county by its name: "Montrose County, CO" and "08085" are montrose-co.

        Raises:
            RegistryError: there is none, or several have the name; it lists those there are.
        """
        try:
            key = find_key(name, self._counties, self._shipped)
        except RegistryError as error:
            raise RegistryError(f"{self.path}: {error}") from None
        if key is None:
            raise RegistryError(f"{self.path}: {unknown_county_message(name, self, self._shipped)}")
        return key

    def shipped(self, state: str | None = None) -> Iterator[CountyT_co]:
        """The shipped counties, of one state or all, that the file says nothing of."""
        return map(self._of_shipped, self.shipped_keys(state))

    def shipped_keys(self, state: str | None = None) -> list[str]:
        """Their keys, which cost less."""
        ending = "" if state is None else f"-{state.lower()}"
        return [k for k in self._shipped if k.endswith(ending) and k not in self._counties]

    def _of_shipped(self, key: str) -> CountyT_co:
        try:
            return validate_entry(key, self._shipped[key], None, self._county_type)
        except RegistryError as error:
            raise RegistryError(_with_place(SHIPPED, key, error)) from error


@overload
def load_registry(path: Path | str | None = None) -> Registry[County]: ...


@overload
def load_registry(path: Path | str | None, county_type: type[CountyT]) -> Registry[CountyT]: ...


def load_registry(
    path: Path | str | None = None, county_type: type[County] = County
) -> Registry[County]:
    """Read and validate a registry file; None reads the one that is shipped.

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
            merged = _over_shipped(key, entry, shipped)
            counties[key] = validate_entry(key, merged, file, county_type)
        except RegistryError as error:
            mistakes.append(_with_place(file, key, error))
    if mistakes:
        raise RegistryError("\n".join(mistakes))
    return Registry(counties, file, shipped, county_type)


def default_registry() -> Path:
    """The registry file that is used when none is named."""
    # A wheel carries the file inside the package; in a clone it lies at the root.
    packed = _HERE / "data" / "registry.yaml"
    return packed if packed.exists() else _HERE.parent / "registry.yaml"


def is_packed(file: Path) -> bool:
    """Whether a file is a part of an installed package, which nobody should change."""
    return file.resolve().is_relative_to(_HERE)


def _over_shipped(key: str, entry: object, shipped: ShippedLayers) -> object:
    """The entry laid over the shipped one of its key; of `fields`, column by column."""
    if not isinstance(entry, dict) or key not in shipped or any(k in entry for k in _PARCELS):
        return entry
    under = shipped[key]
    fields, own_fields = under.get("fields", {}), entry.get("fields", {})
    merged: dict[Any, Any] = {**under, **entry}
    if isinstance(own_fields, dict) and (fields or own_fields):
        merged["fields"] = {**fields, **own_fields}
    return merged


def _with_place(file: Path, key: str, error: RegistryError) -> str:
    return "\n".join(f"{file}: county {key!r}: {line}" for line in str(error).splitlines())
