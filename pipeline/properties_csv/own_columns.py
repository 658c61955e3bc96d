"""The customer's own columns of a properties file: those that have no meaning for Lotline.

They are carried along as text, from the file to every export. A column that is used as a whole
(the id, a coordinate, the parcel id, the address) is in the export under Lotline's name, so it is
not one of them; the parts of an address are, because the export has only the joined address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.formula_guard import strip_guard
from pipeline.properties_csv.excel_values import without_formula
from pipeline.properties_csv.header import REJECTED_COLUMNS, HeaderColumns

# The columns that an export writes; a file that is given again has them. A test compares them with
# the tables of the export.
EXPORTED_COLUMNS = frozenset({
    "property_id", "state", "reason", "detail", "source", "method", "boundary_area_m2",
    "boundary_area_sqft", "segmenters", "parcel_id", "parcel_ids", "coverage_fraction",
    "partly_imaged", "longitude", "latitude", "located_by", "confidence", "address",
    "matched_address", "synthetic", "captured_on", "gsd_m",
    "imagery_files", "boundary_version", "caveats",
})  # fmt: skip
# Together these columns tell an export.
_EXPORT_MARKS = {"state", "reason", "detail"}
_MEASURED_SUFFIXES = ("_m2", "_sqft", "_count")


def own_columns(header: HeaderColumns) -> dict[int, str]:
    """The index and the unique name of each own column, in the order of the file.

    A column without a name is called by its place, `column 7`; a name that an earlier column has,
    with or without case, is numbered.
    """
    known = {index for role, index in header.roles.items() if role not in header.address_parts}
    written = {index: name.casefold() for index, name in enumerate(header.names)}
    known |= {index for index, name in written.items() if name in _added_columns(header.names)}
    unique: dict[int, str] = {}
    used: set[str] = set()
    for index, name in enumerate(header.names):
        if index in known:
            continue
        # PostgreSQL's text has no NUL.
        stem = strip_guard(name).replace("\0", "\ufffd") or f"column {index + 1}"
        candidate, number = stem, 2
        while candidate.casefold() in used:
            candidate, number = f"{stem}_{number}", number + 1
        used.add(candidate.casefold())
        unique[index] = candidate
    return unique


def own_values(columns: Mapping[int, str], cells: Sequence[str]) -> dict[str, str]:
    """The text of a row's own columns, as written; "" for a blank cell.

    Only what a spreadsheet adds is removed: the apostrophe before a formula, and ="…".
    """
    return {
        name: _as_text(cells[index]) if index < len(cells) else ""
        for index, name in columns.items()
    }


def _as_text(cell: str) -> str:
    text = cell.strip()
    return without_formula(text) if text[:1] == "=" else strip_guard(cell)


def _added_columns(names: Sequence[str]) -> set[str]:
    """The names, in lower case, of columns that an earlier rejected.csv or export added."""
    listed = {name.casefold() for name in names}
    added = set(REJECTED_COLUMNS) if listed >= set(REJECTED_COLUMNS) else set()
    if listed >= _EXPORT_MARKS:
        added |= EXPORTED_COLUMNS
        for name in listed:
            stem = name.removesuffix("_m2")
            if all(f"{stem}{suffix}" in listed for suffix in _MEASURED_SUFFIXES):
                added |= {f"{stem}{suffix}" for suffix in _MEASURED_SUFFIXES}
    return added
