"""The columns that queries request, and their values in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parcels.arcgis.layer_info import LayerInfo, as_int64
from parcels.column_mapping import choose_parcel_id, parcel_id_text, resolve_columns
from parcels.registry.county import ParcelFields


@dataclass(frozen=True, slots=True)
class RequestedColumns:
    """The object id column and the mapped columns, as the layer spells them.

    No others are requested: one broken column fails a query, and personal data (owners) stays on
    the county's server.
    """

    object_id: str | None
    fields: ParcelFields

    @property
    def names(self) -> tuple[str, ...]:
        """All columns without duplicates, the object id first."""
        first = () if self.object_id is None else (self.object_id,)
        return tuple(dict.fromkeys((*first, *self.fields.columns)))

    def object_id_of(self, attributes: Mapping[str, Any]) -> int | None:
        """The object id of a row."""
        return as_int64(attributes.get(self.object_id)) if self.object_id else None

    def parcel_id_of(self, attributes: Mapping[str, Any]) -> str | None:
        """The parcel id of a row, exactly as the county writes it."""
        column = self.fields.parcel_id
        return None if column is None else parcel_id_text(attributes.get(column))


def requested_columns(info: LayerInfo, fields: ParcelFields, origin: str) -> RequestedColumns:
    """The columns that the registry entry maps; an unmapped parcel id column is guessed.

    Raises:
        SourceMisconfigured: a mapped column does not exist.
    """
    names = list(info.fields)
    parcel_id = choose_parcel_id(fields.parcel_id, names, origin)
    mapped = fields.model_copy(update={"parcel_id": parcel_id})
    return RequestedColumns(info.object_id_field, resolve_columns(mapped, names, origin))
