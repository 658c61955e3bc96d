"""TableReader: what every format provides: columns, a CRS, and rows in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from parcels.files.text_encoding import TextDecoder
from parcels.files.text_values import Texts


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows as they are in a file.

    Attributes:
        geometries: (n,) in the CRS that the reader was given.
        values: column -> n texts.
        has_unordered_rings: whether the rings of a polygon do not tell shells from holes.
    """

    geometries: NDArray[np.object_]
    values: dict[str, Texts]
    has_unordered_rings: bool = False

    def __len__(self) -> int:
        return len(self.geometries)


@dataclass(frozen=True, slots=True)
class ColumnNotes:
    """What a file says about its columns.

    Attributes:
        aliases: column -> the name that people see.
        coded_values: column -> code as text -> its meaning.
    """

    aliases: dict[str, str]
    coded_values: dict[str, dict[str, str]]


NO_NOTES = ColumnNotes({}, {})


class TableReader(Protocol):
    """The rows of one layer; opening it reads no rows, or only to find the columns.

    Attributes:
        columns: without the geometry.
        notes: on the columns.
        crs: as the file declares it, in a form that pyproj reads; None if it declares none.
        decoder: decodes its text, and counts what it cannot decode.
    """

    columns: list[str]
    notes: ColumnNotes
    crs: object | None
    decoder: TextDecoder

    def count(self) -> int:
        """The number of rows, before the `where` filter."""
        ...

    def batches(
        self, columns: Sequence[str], batch_size: int, after: int, crs: CRS
    ) -> Iterator[RawRows]:
        """The rows after the first `after` in batches, with these columns, in file order."""
        ...
