"""Open a county by name; a synthetic one is generated on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from detection.registry.county import DetectionCounty
from detection.registry.imagery_entry import ImageryEntry
from parcels import County
from parcels.registry.county_source import county_source
from pipeline.county_entry import CountyEntry, find_county
from pipeline.errors import PipelineError
from pipeline.redaction import redactor


@dataclass(frozen=True, slots=True)
class OpenCounty:
    """A county with its files in place; `truth` is set only for a synthetic one.

    Attributes:
        found: the registry entry as written; None if there is none but `county`.
    """

    county: DetectionCounty
    truth: Path | None = None
    found: CountyEntry | None = None

    @property
    def entry(self) -> CountyEntry:
        """The registry entry, which names the source of the county's results."""
        return self.found or CountyEntry(self.county, county_source(self.county))

    @property
    def name(self) -> str:
        """The display name; that of a synthetic county always says so."""
        return display_name(self.county.name, synthetic=self.synthetic)

    @property
    def synthetic(self) -> bool:
        """Whether the county is generated."""
        return self.truth is not None


def open_county(name: str, registry: Path | None, home: Path) -> OpenCounty:
    """Look up a county in the registry; generate the files of a synthetic one under `home`.

    Raises:
        RegistryError: the registry or the entry is invalid, or there is no such county.
        PipelineError: the files of a synthetic county cannot be written.
    """
    entry = find_county(name, registry)
    county = entry.county
    register_secrets(county)
    if county.synthetic is None:
        return OpenCounty(county, found=entry)
    # Imported late, so that real counties do not wait for geopandas.
    from detection import sample

    spec = county.synthetic
    folder = home / "sample" / f"{spec.seed}-{spec.lots}"
    try:
        generated = sample.generated_county(county, folder)
    except OSError as error:
        raise PipelineError(
            f"the synthetic county cannot be written to {folder} "
            f"({error.strerror or error}): make the folder writable, or set LOTLINE_HOME "
            "to another one"
        ) from error
    return OpenCounty(generated, sample.generated_files(county, folder).truth, entry)


def register_secrets(county: County) -> None:
    """Have redaction mask the tokens and the password of this county's servers."""
    token = county.token
    if token is not None:
        names = filter(None, (token.env, token.password_env))
        redactor.add_secrets(os.environ.get(name, "") for name in names)
    imagery = getattr(county, "imagery", None)
    if isinstance(imagery, ImageryEntry) and imagery.token is not None:
        redactor.add_secrets([os.environ.get(imagery.token.env, "")])


def display_name(name: str, *, synthetic: bool) -> str:
    """Return a county's name, with "(synthetic)" if it is and does not say so."""
    return f"{name} (synthetic)" if synthetic and "synthetic" not in name.lower() else name
