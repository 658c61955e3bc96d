"""A registry entry with its file: which county a command means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detection.registry.county import DetectionCounty
from parcels import load_registry
from parcels.registry.county_source import CountySource, county_source
from parcels.registry.load import default_registry


@dataclass(frozen=True, slots=True)
class CountyEntry:
    """A county as its registry describes it.

    Attributes:
        county: the entry; the files of a synthetic county are not generated yet.
        source: the ground that it describes.
        registry: absolute path of the file with the entry; None for the shipped registry.
        written: what was asked for: the key, a name or a FIPS code; None if nothing was.
    """

    county: DetectionCounty
    source: CountySource
    registry: Path | None = None
    written: str | None = None

    @property
    def key(self) -> str:
        """The key under which results are stored."""
        return self.county.key


def find_county(name: str, registry: Path | None) -> CountyEntry:
    """Look up a county by key, name or FIPS code.

    Args:
        registry: a registry file; None is the shipped one.

    Raises:
        RegistryError: the registry or the entry is invalid, or there is no such county.
    """
    known = load_registry(registry, DetectionCounty)
    county = known.county(name)
    file = registry_file(known.path) if county.key in known else None
    return CountyEntry(county, county_source(county), file, name)


def registry_file(registry: Path | None) -> Path | None:
    """The file as a county is bound to it; None for the shipped registry."""
    file = None if registry is None else registry.resolve()
    return None if file == default_registry().resolve() else file
