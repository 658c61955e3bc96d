"""The shipped US parcel layers: a thousand entries, each parsed on first use.

`parcels/data/us_parcel_layers.yaml` is a registry file written by `lotline registry import`;
the `.dropped.csv` beside it lists what was left out and why. Looking up one county searches the
text for its name and parses only that entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from parcels.registry.yaml_file import parse_entries

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "us_parcel_layers.yaml"

# The layout of `write_registry`: an entry's name is indented by two spaces, its keys by four.
_ENTRY = re.compile(r"^  ([a-z0-9][a-z0-9_-]*):\n((?:    .*\n)+)", re.MULTILINE)
_FIPS = re.compile(r'^    fips: "(\d{5})"$', re.MULTILINE)


class ShippedLayers(Mapping[str, dict[str, Any]]):
    """Key -> entry as written, of a file in the layout of `write_registry`."""

    def __init__(self, file: Path = SHIPPED) -> None:
        self._file = file

    def __getitem__(self, key: str) -> dict[str, Any]:
        text = f"counties:\n  {key}:\n{self._texts[key]}"
        entry: dict[str, Any] = parse_entries(text, self._file)[key]
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, key: object) -> bool:
        return key in self._texts

    def with_fips(self, fips: str) -> list[str]:
        """The keys of the counties with this FIPS code."""
        return self._by_fips.get(fips, [])

    @cached_property
    def _texts(self) -> dict[str, str]:
        return dict(_ENTRY.findall(self._file.read_text(encoding="utf-8")))

    @cached_property
    def _by_fips(self) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {}
        for key, text in self._texts.items():
            code = _FIPS.search(text)
            if code is not None:
                keys.setdefault(code[1], []).append(key)
        return keys


@cache
def shipped_layers() -> ShippedLayers:
    """The layers shipped with this package; the file is read once."""
    return ShippedLayers()
