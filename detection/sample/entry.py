"""A synthetic entry of the registry -> the county with its generated files."""

from __future__ import annotations

from pathlib import Path

from detection.registry.county import DetectionCounty, detection_county
from detection.registry.imagery_entry import ImageryEntry
from detection.sample.county import SampleCounty, generate, is_current, load
from parcels.registry.county import County


def generated_files(county: County, folder: Path) -> SampleCounty:
    """The files of a synthetic county in `folder`; they are generated on first use.

    Raises:
        ValueError: the county is not synthetic, or the folder has other content.
        OSError: the files cannot be written.
    """
    spec = county.synthetic
    if spec is None:
        raise ValueError(f"county {county.key!r} is not synthetic: it has files of its own")
    if is_current(folder, spec.seed, spec.lots):
        return load(folder)
    return generate(folder, spec.seed, spec.lots)


def generated_county(county: County, folder: Path | str) -> DetectionCounty:
    """A synthetic county with its generated files in place of `synthetic`.

    All other keys of the entry apply to the generated county too.

    Raises:
        ValueError: the county is not synthetic, or the folder has other content.
        OSError: the files cannot be written.
        RegistryError: an imagery, label or lot-line key of the entry is wrong.
    """
    files = generated_files(county, Path(folder))
    entry = detection_county(county)
    return entry.model_copy(
        update={
            "synthetic": None,
            "path": files.parcels.absolute(),
            "imagery": ImageryEntry(
                path=str(Path(files.imagery).absolute()), chip_gsd_m=entry.imagery.chip_gsd_m
            ),
            "properties": entry.properties or files.properties.absolute(),
        }
    )
