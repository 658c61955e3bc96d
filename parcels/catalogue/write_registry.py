"""Writes the registry file and the table of dropped layers for `lotline registry import`."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import yaml

from parcels.catalogue.openaddresses_entries import DroppedLayer
from parcels.errors import RegistryError
from parcels.registry.yaml_file import read_text

_HEAD = """\
# US parcel layers: facts of OpenAddresses' source files, as `lotline registry import` has
# written them; the .dropped.csv beside this file lists what was left out and why. This project
# runs none of these servers. `lotline registry verify NAME` checks whether an entry still works.

"""


class _Flow(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes text that starts with a digit, such as FIPS codes: YAML versions disagree on it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text[:1].isdigit() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _one_line(dumper: yaml.SafeDumper, mapping: _Flow) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping.items(), flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Flow, _one_line)


def write_registry(entries: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Write a registry file with these entries; an existing file is replaced atomically.

    Raises:
        RegistryError: it cannot be written.
    """
    formatted = {
        key: {k: _Flow(v) if isinstance(v, dict) else v for k, v in entry.items()}
        for key, entry in entries.items()
    }
    content = yaml.dump(
        {"counties": formatted},
        Dumper=_Dumper,
        sort_keys=False,
        width=100_000,
        allow_unicode=True,
        default_flow_style=False,
    )
    write_text(_HEAD + content, file)


def is_written_here(file: Path) -> bool:
    """Whether a file was written by `write_registry`, so that it may be overwritten.

    Raises:
        RegistryError: it cannot be read.
    """
    return read_text(file).startswith(_HEAD.splitlines()[0])


def write_dropped(dropped: Iterable[DroppedLayer], file: Path) -> None:
    """Write a CSV of what was dropped.

    Raises:
        RegistryError: it cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([field.name for field in fields(DroppedLayer)])
    writer.writerows(astuple(drop) for drop in dropped)
    write_text(table.getvalue(), file)


def dropped_beside(file: Path) -> Path:
    """The path of the table of dropped layers of a registry file."""
    return file.with_name(f"{file.stem}.dropped.csv")


def write_text(text: str, file: Path) -> None:
    """Replace a file atomically: a reader sees the old text or the new one.

    Raises:
        RegistryError: it cannot be written.
    """
    try:
        target = file.resolve()  # the target of a symbolic link
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            Path(name).chmod(mode)
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise RegistryError(f"{file}: cannot be written: {error}") from error
