"""`lotline registry import`: OpenAddresses -> a registry file and a table of what was dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parcels.catalogue.openaddresses import read_source
from parcels.catalogue.openaddresses_entries import DroppedLayer, entries_of
from parcels.catalogue.write_registry import (
    dropped_beside,
    is_written_here,
    write_dropped,
    write_registry,
)
from parcels.errors import RegistryError


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The files that an import has written, and their content.

    Attributes:
        layers: number of layers in the source.
        keys: of the entries that were written.
    """

    layers: int
    keys: tuple[str, ...]
    dropped: tuple[DroppedLayer, ...]
    file: Path
    dropped_file: Path


def import_layers(source: Path, file: Path) -> ImportResult:
    """Write a registry file with all parcel layers of a source tree or table.

    Raises:
        RegistryError: the source cannot be read or has no usable layer; or `file` cannot be
            written, or exists and was not written by an import.
    """
    if file.exists() and not is_written_here(file):
        raise RegistryError(
            f"{file}: exists and was not written by `lotline registry import`; choose another "
            "file with --out"
        )
    layers = read_source(source)
    entries, dropped = entries_of(layers)
    if not entries:
        reasons = "; ".join(f"{drop.source}: {drop.reason}" for drop in dropped[:3])
        raise RegistryError(f"{source}: has no usable parcel layer ({reasons or 'it is empty'})")
    dropped_file = dropped_beside(file)
    write_registry(entries, file)
    write_dropped(dropped, dropped_file)
    return ImportResult(len(layers), tuple(entries), tuple(dropped), file, dropped_file)
