"""What ground a registry entry describes: its layers, file or seed, its state and FIPS code.

Stored results of a county are bound to it, so that another entry with the same key is recognised.
Labels, imagery, offsets, columns and tokens are no part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from parcels.registry.county import County

# A file's digest covers its size and this many blocks, so that a large file costs no more.
_SAMPLED_BLOCKS = 16
_BLOCK_BYTES = 65_536
# Files of a folder beyond these are not part of its digest.
_MAX_FILES = 100


@dataclass(frozen=True, slots=True)
class CountySource:
    """What ground an entry describes.

    Attributes:
        layers: `host/path/layer` of the ArcGIS layers, in lower case and without the scheme.
        path: absolute path of a file of parcels; None for a server.
        layer: of a file with several layers.
        sha256: digest of samples of the file's content; None if it cannot be read.
        synthetic: seed and number of lots of a generated county.
        where: the SQL filter, which may select one county from a state's layer.
    """

    layers: tuple[str, ...] = ()
    path: str | None = None
    layer: str | None = None
    sha256: str | None = None
    synthetic: tuple[int, int] | None = None
    where: str | None = None
    state: str | None = None
    fips: str | None = None

    @property
    def description(self) -> str:
        """The source in words, for messages."""
        if self.synthetic is not None:
            seed, lots = self.synthetic
            return f"a generated county (seed {seed}, {lots} lots)"
        name = self.layers[0] if self.layers else f"the file {self.path}"
        details = [f"layer {self.layer}" if self.layer else "", self._where_text, self._place_text]
        given = [detail for detail in details if detail]
        return f"{name} ({', '.join(given)})" if given else name

    @property
    def _where_text(self) -> str:
        return f"where {self.where[:60]}" if self.where else ""

    @property
    def _place_text(self) -> str:
        given = [f"state {self.state}" if self.state else "", f"FIPS {self.fips}"]
        return ", ".join(part for part in given[: 2 if self.fips else 1] if part)

    @property
    def fingerprint(self) -> str:
        """A digest of all fields, in hexadecimal; `is_same` decides whether two sources differ."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def is_same(self, other: CountySource) -> bool:
        """Whether both describe the same ground.

        A county that gained an alternate layer is the same; so is a file that was moved, or that
        was updated in its place. A key that only one of the two has says nothing.
        """
        if _differ(self.fips, other.fips) or _differ(self.state, other.state):
            return False
        if self.synthetic != other.synthetic:
            return False
        same_code = self.fips is not None and self.fips == other.fips
        if self.where != other.where and not same_code:
            return False
        if self.path is None or other.path is None:
            is_same_server = bool({*self.layers} & {*other.layers})
            return self.path == other.path and (self.layers == other.layers or is_same_server)
        if _differ(self.layer, other.layer):
            return False
        same_content = self.sha256 is not None and self.sha256 == other.sha256
        return self.path == other.path or same_content

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON, without empty fields."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CountySource:
        """The inverse of `as_json`; unknown fields, which a newer version wrote, are ignored."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        for name in ("layers", "synthetic"):
            if name in known:
                known[name] = tuple(known[name])
        return cls(**known)


def county_source(county: County) -> CountySource:
    """What ground this entry describes. Reads samples of a file, but no server."""
    source = CountySource(where=county.where, state=county.state, fips=county.fips)
    if county.synthetic is not None:
        return replace(source, synthetic=(county.synthetic.seed, county.synthetic.lots))
    if county.path is not None:
        return replace(
            source,
            path=os.path.realpath(county.path),
            layer=None if county.layer is None else str(county.layer),
            sha256=_sampled_sha256(county.path),
        )
    layers = tuple(f"{_service_name(entry.url)}/{entry.layer}" for entry in county.layers)
    return replace(source, layers=layers)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _service_name(url: str) -> str:
    """The URL of a service as servers compare it: no scheme, no case."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}".rstrip("/").lower()


def _sampled_sha256(path: Path) -> str | None:
    """Digest of the sizes and of samples of a file, or of the files of a folder."""
    digest = hashlib.sha256()
    try:
        for name, file in _files(path):
            size = file.stat().st_size
            digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            with file.open("rb") as opened:
                for block in _samples(size):
                    opened.seek(block)
                    digest.update(opened.read(_BLOCK_BYTES))
    except OSError:
        return None  # the entry is read later, with an error that says what is wrong
    return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """The files of a path with names that do not depend on where it lies."""
    if not path.is_dir():
        yield "", path
        return
    found = sorted(file for file in path.rglob("*") if file.is_file())
    for file in found[:_MAX_FILES]:
        yield file.relative_to(path).as_posix(), file


def _samples(size: int) -> list[int]:
    """Offsets of the blocks to read: all of a small file, else evenly spread with both ends."""
    if size <= _SAMPLED_BLOCKS * _BLOCK_BYTES:
        return list(range(0, size, _BLOCK_BYTES))
    last = size - _BLOCK_BYTES
    return [last * i // (_SAMPLED_BLOCKS - 1) for i in range(_SAMPLED_BLOCKS)]
