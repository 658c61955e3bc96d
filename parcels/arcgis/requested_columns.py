"""The columns that queries request, and their values in a row.

Servers do not always spell a column in their responses as in the layer's metadata: `objectid` for
`OBJECTID`, `PIN` for `GIS.PARCELS.PIN`. So columns are found in each response as databases find
them; one that is in no row is an error, as every lot would seem to have no id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from shapely import MultiPolygon

from parcels.arcgis.layer_info import LayerInfo, as_int64
from parcels.column_mapping import (
    MAX_EXACT,
    choose_parcel_type,
    match_column,
    parcel_id_candidates,
    parcel_id_text,
    resolve_columns,
    site_address,
    unqualified,
)
from parcels.errors import ColumnsMissing
from parcels.id_column import Sample, choose_id_column
from parcels.parcel_source import ParcelRow
from parcels.registry.county import ParcelFields


@dataclass(frozen=True, slots=True)
class RequestedColumns:
    """The object id column and the mapped columns, as the layer or a response spells them.

    No others are requested: one broken column fails a query, and personal data (owners) stays on
    the county's server.

    Attributes:
        id_is_guessed, type_is_guessed: the registry entry maps no such column; it has a common
            name.
        aliases: column -> the alias that the layer shows to people.
        parcel_types: code as text -> its meaning, if the parcel type column has coded values.
        max_exact_id: an id from here on is a rounded number.
    """

    object_id: str | None
    fields: ParcelFields
    id_is_guessed: bool = False
    type_is_guessed: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    parcel_types: Mapping[str, str] = field(default_factory=dict)
    max_exact_id: float = inf

    @property
    def names(self) -> tuple[str, ...]:
        """All columns without duplicates, the object id first."""
        first = () if self.object_id is None else (self.object_id,)
        return tuple(dict.fromkeys((*first, *self.fields.columns)))

    def in_response(
        self,
        rows: Sequence[Mapping[str, Any]],
        origin: str,
        is_left_out: Callable[[str], bool] = lambda _: False,
    ) -> RequestedColumns:
        """The columns as the rows (attributes) of a response spell them.

        Args:
            is_left_out: whether the server leaves a column out of the rows where it is null.

        Raises:
            ColumnsMissing: a mapped column is in none of the rows.
        """
        if not rows or all(name in rows[0] for name in self.names):
            return self
        keys = list(dict.fromkeys(key for row in rows for key in row))
        spelled = {name: self._spelling(name, keys) for name in self.names}
        optional = self.fields.parcel_type if self.type_is_guessed else None
        missing = [n for n in self.fields.columns if spelled[n] is None and n != optional]
        missing = [name for name in missing if not is_left_out(name)]
        if missing:
            raise ColumnsMissing(
                f"{origin}: no row of the response has the column {', '.join(map(repr, missing))}, "
                f"which the layer lists; the rows have {', '.join(keys) or 'no columns'}. Correct "
                "'fields' in the registry entry, or report it to the county"
            )
        fields = {
            key: tuple(spelled[name] or name for name in column)
            if isinstance(column, tuple)
            else spelled[column] or column
            for key, column in self.fields
            if column is not None
        }
        object_id = None if self.object_id is None else spelled[self.object_id]
        return replace(self, object_id=object_id, fields=self.fields.model_copy(update=fields))

    def object_id_of(self, attributes: Mapping[str, Any]) -> int | None:
        """The object id of a row."""
        return as_int64(attributes.get(self.object_id)) if self.object_id else None

    def parcel_row(self, attributes: Mapping[str, Any], geometry: MultiPolygon | None) -> ParcelRow:
        """The row of a response with these attributes."""
        column = self.fields.parcel_id
        value = None if column is None else attributes.get(column)
        parcel_id = exact_id_text(value, self.max_exact_id)
        return ParcelRow(
            parcel_id,
            geometry,
            self.object_id_of(attributes),
            site_address(self.fields, attributes),
            self._parcel_type(attributes),
            lacks_id=column is not None and parcel_id is None,
        )

    def _parcel_type(self, attributes: Mapping[str, Any]) -> str | None:
        """The parcel type of a row: its meaning if the layer has coded values."""
        column = self.fields.parcel_type
        text = None if column is None else parcel_id_text(attributes.get(column))
        return None if text is None else self.parcel_types.get(text, text)

    def _spelling(self, name: str, keys: Sequence[str]) -> str | None:
        found = match_column(name, keys, {})
        if not found and name in self.aliases:
            found = match_column(self.aliases[name], keys, {})
        return found[0] if len(found) == 1 else None


def requested_columns(
    info: LayerInfo, fields: ParcelFields, origin: str, sample: Sample = lambda _: {}
) -> RequestedColumns:
    """The columns that the registry entry maps; unmapped columns of id and type are guessed.

    Args:
        sample: column names -> their values in some rows; empty if unknown.

    Raises:
        SourceMisconfigured: a mapped column does not exist.
    """
    names = list(info.fields)
    guessed = {
        "parcel_id": fields.parcel_id or _guess_parcel_id(names, sample),
        "parcel_type": choose_parcel_type(fields.parcel_type, names),
    }
    mapped = resolve_columns(fields.model_copy(update=guessed), names, origin, info.aliases)
    return RequestedColumns(
        _object_id_column(info),
        mapped,
        fields.parcel_id is None and mapped.parcel_id is not None,
        fields.parcel_type is None and mapped.parcel_type is not None,
        info.aliases,
        info.coded_values.get(mapped.parcel_type or "", {}),
        info.max_exact(mapped.parcel_id or ""),
    )


def is_rounded_id(value: object, max_exact: float) -> bool:
    """Whether an id is a number that stands for several integers, so that neighbours share it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    limit = min(max_exact, MAX_EXACT) if isinstance(value, float) else max_exact
    return limit <= abs(value) < inf


def exact_id_text(value: object, max_exact: float) -> str | None:
    """`parcel_id_text`; None for a rounded id."""
    return None if is_rounded_id(value, max_exact) else parcel_id_text(value)


def _guess_parcel_id(names: Sequence[str], sample: Sample) -> str | None:
    candidates = parcel_id_candidates(names)
    # The usual case costs no request; "parcel" may be a part of the id, beside a map and a lot.
    is_sure = len(candidates) == 1 and unqualified(candidates[0]) != "parcel"
    values = sample(candidates) if candidates and not is_sure else {}
    return choose_id_column(values) if values else next(iter(candidates), None)


def _object_id_column(info: LayerInfo) -> str | None:
    """The object id column as the layer's list of columns spells it."""
    declared = info.object_id_field
    found = [] if declared is None else match_column(declared, list(info.fields), {})
    return found[0] if len(found) == 1 else declared
