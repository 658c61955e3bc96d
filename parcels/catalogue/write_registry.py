"""Registry files that are written as a whole, by `lotline registry import`."""

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
# written them; what it left out, and why, lies beside this file. None of these servers is of
# this project. `lotline registry verify NAME` asks whether an entry still holds.

"""


class _Flow(dict[str, Any]):
    """A mapping that is written in one line."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes digits that are a text, such as FIPS codes, in quotes: YAML's versions disagree."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text[:1].isdigit() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _one_line(dumper: yaml.SafeDumper, mapping: _Flow) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping.items(), flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Flow, _one_line)


def write_registry(entries: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """A registry file of these entries; one that is there is replaced in one step.

    Raises:
        RegistryError: it cannot be written.
    """
    laid_out = {
        key: {k: _Flow(v) if isinstance(v, dict) else v for k, v in entry.items()}
        for key, entry in entries.items()
    }
    content = yaml.dump(
        {"counties": laid_out},
        Dumper=_Dumper,
        sort_keys=False,
        width=100_000,
        allow_unicode=True,
        default_flow_style=False,
    )
    write_text(_HEAD + content, file)


def is_written_here(file: Path) -> bool:
    """Whether a file that is there is of `write_registry`, and may be written anew.

    Raises:
        RegistryError: it cannot be read.
    """
    return read_text(file).startswith(_HEAD.splitlines()[0])


def write_dropped(dropped: Iterable[DroppedLayer], file: Path) -> None:
    """A CSV of what was left out.

    Raises:
        RegistryError: it cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([field.name for field in fields(DroppedLayer)])
    writer.writerows(astuple(drop) for drop in dropped)
    write_text(table.getvalue(), file)


def dropped_beside(file: Path) -> Path:
    """Where the reasons for a registry file's gaps are kept."""
    return file.with_name(f"{file.stem}.dropped.csv")


def write_text(text: str, file: Path) -> None:
    """Replace a file in one step; whoever reads it sees the old text or the new one.

    Raises:
        RegistryError: it cannot be written.
    """
    try:
        target = file.resolve()  # of a link, the file that it names
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
