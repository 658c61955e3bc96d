"""The mapped columns of a parcel file, found by their names and, if guessed, by their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from parcels.column_mapping import (
    choose_parcel_type,
    parcel_id_candidates,
    resolve_columns,
)
from parcels.files.text_values import Texts
from parcels.id_column import Ids, Sample, choose_id_column, tells_lots
from parcels.registry.county import ParcelFields
from parcels.untrusted import storable_text


class FileColumns:
    """The columns to read, and their values under the names of `fields`.

    GeoJSON may spell a column differently from row to row ("PIN", "pin"); these are one column.

    Attributes:
        fields: the mapped columns as spelled in the file, with guessed columns of id and type.
        requested: the columns to read.
        id_was_seen: whether a row so far had a parcel id, or a word for what is not a lot.

    Raises:
        SourceMisconfigured: a mapped column does not exist.
    """

    def __init__(
        self, mapped: ParcelFields, columns: Sequence[str], where: str, sample: Sample
    ) -> None:
        guessed = {
            "parcel_id": mapped.parcel_id or _guess_parcel_id(columns, sample),
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
        """The values (n,) of each mapped column, from all of its spellings; all can be stored."""
        others = self._other_spellings
        merged = {
            name: _storable(_merged(values, name, others[name]) if name in others else values[name])
            for name in self.fields.columns
        }
        parcel_id = self.fields.parcel_id
        if parcel_id is not None and not self.id_was_seen:
            self.id_was_seen = tells_lots(merged[parcel_id])
        return merged


def _guess_parcel_id(columns: Sequence[str], sample: Sample) -> str | None:
    spellings = {n: _other_spellings(n, columns) for n in parcel_id_candidates(columns)}
    if not spellings:
        return None
    values = sample([*spellings, *chain(*spellings.values())])
    return choose_id_column({n: _merged(values, n, o) for n, o in spellings.items() if values})


def _storable(texts: Texts) -> Texts:
    return [None if text is None else storable_text(text) for text in texts]


def _merged(values: Mapping[str, Ids], name: str, others: Sequence[str]) -> Texts:
    """The first value in each row of a column in all its spellings."""
    rows = zip(values[name], *(values[other] for other in others), strict=True)
    return [next((value for value in row if value is not None), None) for row in rows]


def _other_spellings(name: str, columns: Sequence[str]) -> list[str]:
    return [each for each in columns if each != name and each.lower() == name.lower()]
