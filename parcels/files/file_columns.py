"""The mapped columns of a parcel file, found by their names and, if guessed, by their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from parcels.column_mapping import (
    choose_parcel_type,
    parcel_id_candidates,
    resolve_columns,
)
from parcels.files.text_values import Texts
from parcels.registry.county import ParcelFields

# Column names -> those of them that have a value in a sample of the rows.
HaveValues = Callable[[Sequence[str]], Sequence[str]]


class FileColumns:
    """The columns to read, and their values under the names of `fields`.

    GeoJSON may spell a column differently from row to row ("PIN", "pin"); these are one column.

    Attributes:
        fields: the mapped columns as spelled in the file, with guessed columns of id and type.
        requested: the columns to read.
        id_was_seen: whether a row so far had a parcel id.

    Raises:
        SourceMisconfigured: a mapped column does not exist.
    """

    def __init__(
        self, mapped: ParcelFields, columns: Sequence[str], where: str, have_values: HaveValues
    ) -> None:
        guessed = {
            "parcel_id": mapped.parcel_id or _guess_parcel_id(columns, have_values),
            "parcel_type": choose_parcel_type(mapped.parcel_type, columns),
        }
        self.fields = resolve_columns(mapped.model_copy(update=guessed), columns, where)
        self._other_spellings = {
            name: others
            for name in self.fields.columns
            if (others := _other_spellings(name, columns))
            and not set(others) & set(self.fields.columns)
        }
        self.requested = tuple(chain(self.fields.columns, *self._other_spellings.values()))
        self.id_was_seen = False

    def merge(self, values: Mapping[str, Texts]) -> dict[str, Texts]:
        """The values (n,) of each mapped column, from all of its spellings."""
        merged = {name: values[name] for name in self.fields.columns}
        for name, others in self._other_spellings.items():
            for other in others:
                pairs = zip(merged[name], values[other], strict=True)
                merged[name] = [one if one is not None else two for one, two in pairs]
        parcel_id = self.fields.parcel_id
        if parcel_id is not None and not self.id_was_seen:
            self.id_was_seen = any(merged[parcel_id])
        return merged


def _guess_parcel_id(columns: Sequence[str], have_values: HaveValues) -> str | None:
    """The first column with a common name that has values; None if none has."""
    candidates = parcel_id_candidates(columns)
    filled = have_values(candidates) if candidates else ()
    return next((name for name in candidates if name in filled), None)


def _other_spellings(name: str, columns: Sequence[str]) -> list[str]:
    return [each for each in columns if each != name and each.lower() == name.lower()]
