"""A county by its name, ready to work on: a synthetic one is generated when it is first used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from detection.registry.county import DetectionCounty
from detection.registry.imagery_entry import ImageryEntry
from parcels import County, load_registry
from pipeline.errors import PipelineError
from pipeline.redaction import redactor


@dataclass(frozen=True, slots=True)
class OpenCounty:
    """A county with its files in place; `truth` only where it is synthetic."""

    county: DetectionCounty
    truth: Path | None = None

    @property
    def name(self) -> str:
        """As people are shown it: a synthetic place says so, whatever its entry says."""
        return display_name(self.county.name, synthetic=self.synthetic)

    @property
    def synthetic(self) -> bool:
        """Whether it is a generated place."""
        return self.truth is not None


def open_county(name: str, registry: Path | None, home: Path) -> OpenCounty:
    """Find a county in the registry; make the files of a synthetic one under `home`.

    Raises:
        RegistryError: the registry or the county is wrong, or there is no such county.
        PipelineError: the files of a synthetic county cannot be written.
    """
    county = load_registry(registry, DetectionCounty).county(name)
    register_secrets(county)
    if county.synthetic is None:
        return OpenCounty(county)
    # Only a county that is generated has to wait for geopandas.
    from detection import sample

    spec = county.synthetic
    folder = home / "sample" / f"{spec.seed}-{spec.lots}"
    if sample.is_current(folder, spec.seed, spec.lots):
        made = sample.load(folder)
    else:
        try:
            made = sample.generate(folder, spec.seed, spec.lots)
        except OSError as error:
            raise PipelineError(
                f"the synthetic county cannot be made in {folder} ({error.strerror}): make the "
                "folder writable, or name another one with LOTLINE_HOME="
            ) from error
    # Whatever else the entry says holds for the generated place too.
    generated = county.model_copy(
        update={
            "synthetic": None,
            "path": made.parcels,
            "imagery": ImageryEntry(path=made.imagery, chip_gsd_m=county.imagery.chip_gsd_m),
            "properties": county.properties or made.properties,
        }
    )
    return OpenCounty(generated, made.truth)


def register_secrets(county: County) -> None:
    """Nothing that is printed shows the token or the password that this county's servers want."""
    token = county.token
    if token is not None:
        names = filter(None, (token.env, token.password_env))
        redactor.add_secrets(os.environ.get(name, "") for name in names)


def display_name(name: str, *, synthetic: bool) -> str:
    """A county's name; one that is synthetic always carries the word."""
    return f"{name} (synthetic)" if synthetic and "synthetic" not in name.lower() else name
