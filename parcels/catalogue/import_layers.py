"""OpenAddresses -> a registry file, and beside it a table of what was left out and why."""

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
    """What an import has written, and where.

    Attributes:
        layers: how many the source speaks of.
        keys: of the entries that were written.
    """

    layers: int
    keys: tuple[str, ...]
    dropped: tuple[DroppedLayer, ...]
    file: Path
    dropped_file: Path


def import_layers(source: Path, file: Path) -> ImportResult:
    """Write a registry file of all the parcel layers that a tree or a table speaks of.

    Raises:
        RegistryError: the source cannot be read, holds nothing usable, or `file` cannot be
            written, or is there and of somebody else.
    """
    if file.exists() and not is_written_here(file):
        raise RegistryError(
            f"{file}: is there, and `lotline registry import` has not written it: name another "
            "file with --out, so that nothing in this one is lost"
        )
    layers = read_source(source)
    entries, dropped = entries_of(layers)
    if not entries:
        reasons = "; ".join(f"{drop.source}: {drop.reason}" for drop in dropped[:3])
        raise RegistryError(f"{source}: has no usable parcel layer ({reasons or 'it is empty'})")
    beside = dropped_beside(file)
    write_registry(entries, file)
    write_dropped(dropped, beside)
    return ImportResult(len(layers), tuple(entries), tuple(dropped), file, beside)
