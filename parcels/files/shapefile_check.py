"""Refuses a shapefile that is damaged, or whose parts come from two downloads.

GDAL reads as many lots as it finds, and the others would be "no lot".
"""

from __future__ import annotations

import struct

import numpy as np

from parcels.errors import SourceMisconfigured
from parcels.files.dataset import Dataset

_PARTS = (".shp", ".shx", ".dbf")
_HEADER_BYTES = 100  # of .shp and .shx
_RECORD_HEADER_BYTES = 8
_SHAPE_TYPES = (0, 1, 3, 5, 8, 11, 13, 15, 18, 21, 23, 25, 28, 31)


class DamagedShapefile(SourceMisconfigured):
    """A shapefile of which lots are missing."""


def check_shapefile(dataset: Dataset) -> None:
    """Compare the parts of a shapefile with each other and with their headers.

    Raises:
        DamagedShapefile: a part is cut, or has another number of records.
        SourceMisconfigured: a part is missing.
    """
    parts = {ending: dataset.sidecar(ending) for ending in _PARTS}
    for ending, name in parts.items():
        if name is None:
            raise dataset.refusal(
                f"{dataset.stem}{ending} is missing; a shapefile consists of .shp, .shx, .dbf and "
                ".prj with one name: put them beside each other"
            )
    needed = {ending: _declared_bytes(dataset, ending, name) for ending, name in parts.items()}
    for ending, name in parts.items():
        size = dataset.size(name)
        if size < needed[ending]:
            raise _damaged(
                dataset,
                f"{dataset.stem}{ending} has {size:,} bytes of {needed[ending]:,}",
            )
    index = (needed[".shx"] - _HEADER_BYTES) // 8
    rows = _dbf_layout(dataset, parts[".dbf"])[0]
    records = _records(dataset, parts[".shx"], index, dataset.size())
    if len({records, index, rows}) > 1:
        counts = {".shp": records, ".shx": index, ".dbf": rows}
        has = [f"{dataset.stem}{ending} has {count:,} records" for ending, count in counts.items()]
        raise _damaged(dataset, ", ".join(has))


def _damaged(dataset: Dataset, why: str) -> DamagedShapefile:
    what = f"the shapefile is damaged or mixed from two downloads ({why}): download it again"
    return DamagedShapefile(str(dataset.refusal(what)))


def _declared_bytes(dataset: Dataset, ending: str, name: str | None) -> int:
    """The size of a part as its header says; parts may be padded beyond it."""
    if ending == ".dbf":
        rows, header_bytes, row_bytes = _dbf_layout(dataset, name)
        return header_bytes + rows * row_bytes
    with dataset.open(name) as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return _HEADER_BYTES
    (words,) = struct.unpack_from(">I", header, 24)
    return max(_HEADER_BYTES, 2 * int(words))


def _dbf_layout(dataset: Dataset, name: str | None) -> tuple[int, int, int]:
    """The number of rows, and the bytes of the header and of a row."""
    with dataset.open(name) as file:
        header = file.read(32)
    if len(header) < 32:
        return 0, 32, 0
    return struct.unpack_from("<IHH", header, 4)


def _records(dataset: Dataset, shx: str | None, index: int, size: int) -> int:
    """The number of records in the .shp of `size` bytes, of which `index` are in the .shx.

    The .shp is read only if it goes on after the last record of the .shx.
    """
    with dataset.open(shx) as file:
        file.seek(_HEADER_BYTES)
        entries = np.frombuffer(file.read(8 * index), ">u4").reshape(-1, 2).astype(np.int64)
    ends = 2 * entries.sum(axis=1) + _RECORD_HEADER_BYTES
    if len(ends) and ends.max() > size:
        return int((ends <= size).sum())
    end = int(ends.max()) if len(ends) else _HEADER_BYTES
    records = index
    with dataset.open() as file:
        while end < size:
            file.seek(end)
            header = file.read(_RECORD_HEADER_BYTES + 4)
            if len(header) < _RECORD_HEADER_BYTES + 4:
                return records
            number, words = struct.unpack_from(">2I", header)
            (shape_type,) = struct.unpack_from("<i", header, 8)
            end += _RECORD_HEADER_BYTES + 2 * words
            # Something else may follow, such as zeros.
            if number != records + 1 or shape_type not in _SHAPE_TYPES or end > size:
                return records
            records += 1
    return records
