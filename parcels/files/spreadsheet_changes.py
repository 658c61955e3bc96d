"""SpreadsheetChanges: values of a CSV that a spreadsheet program has changed or cut."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from parcels.files.text_values import Texts

log = logging.getLogger(__name__)

_CHANGED = re.compile(
    r"\s*(?:[-+]?\d(?:[.,]\d+)?E\+\d{2,}|#(?:N/A|NAME\?|REF!|VALUE!|NUM!|NULL!|DIV/0!))\s*",
    re.IGNORECASE,
)
_MAX_CELL = 32_767  # characters in a cell of Excel
_REMEDY = "export the file again from its source, without Excel"


class SpreadsheetChanges:
    """Counts the values of one reading that have lost information.

    Args:
        path: of the file, for the warnings.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}
        self._cut = 0

    def add(
        self,
        values: Mapping[str, Texts],
        shapes: Sequence[str | None],
        geometries: NDArray[np.object_],
    ) -> None:
        """Count in n rows: the values of each column, and the texts of their geometries."""
        for name, texts in values.items():
            changed = [text for text in texts if text and _CHANGED.fullmatch(text)]
            if changed:
                self._counts[name] = self._counts.get(name, 0) + len(changed)
                self._examples.setdefault(name, changed[0].strip())
        for at in np.flatnonzero(shapely.is_missing(geometries)).tolist():
            self._cut += len(shapes[at] or "") in (_MAX_CELL, _MAX_CELL - 1)

    def log(self) -> None:
        """Log a warning for each column, and for cut geometries."""
        for name, count in self._counts.items():
            log.warning(
                "%s: %d values of column %r, such as %r, were changed by Excel, which lost the "
                "originals; %s",
                self._path, count, name, self._examples[name], _REMEDY,
            )  # fmt: skip
        if self._cut:
            log.warning(
                "%s: %d polygons end where Excel cuts a cell (32,767 characters); %s",
                self._path, self._cut, _REMEDY,
            )  # fmt: skip
