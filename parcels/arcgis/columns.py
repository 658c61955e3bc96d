"""The columns of a layer that are asked for, and what a row says in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parcels.arcgis.layer import LayerInfo
from parcels.county import ParcelFields
from parcels.fieldnames import choose_parcel_id, id_text, require_field
from parcels.source import SiteAddress


@dataclass(frozen=True, slots=True)
class Columns:
    """The mapped columns, named as the layer writes them; None where there is none.

    No others are ever asked for: one broken column fails a whole query, and what is not needed
    (owners) does not leave the county.
    """

    object_id: str | None
    parcel_id: str | None
    address: str | None
    house_number: str | None
    street: tuple[str, ...]
    unit: str | None
    city: str | None
    postcode: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Each of them once, the object id first."""
        single = (self.object_id, self.parcel_id, self.address, self.house_number)
        rest = (self.unit, self.city, self.postcode)
        names = (*single, *self.street, *rest)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def object_id_of(self, attributes: Mapping[str, Any]) -> int | None:
        """The row's key; servers write 6.4579816E7 too."""
        value = attributes.get(self.object_id) if self.object_id else None
        if isinstance(value, float):
            return int(value) if value.is_integer() else None
        return value if isinstance(value, int) else None

    def parcel_id_of(self, attributes: Mapping[str, Any]) -> str | None:
        """The parcel id exactly as the county writes it."""
        return id_text(attributes.get(self.parcel_id)) if self.parcel_id else None

    def site_of(self, attributes: Mapping[str, Any]) -> SiteAddress | None:
        """The lot's address; None where no column of addresses is mapped."""
        mapped = (self.address, self.house_number, *self.street)
        if not any((*mapped, self.unit, self.city, self.postcode)):
            return None
        street = [text for name in self.street if (text := _text(attributes.get(name)))]
        return SiteAddress(
            line=_text_in(attributes, self.address),
            house_number=_text_in(attributes, self.house_number),
            street=" ".join(street) or None,
            unit=_text_in(attributes, self.unit),
            city=_text_in(attributes, self.city),
            postcode=_text_in(attributes, self.postcode),
        )


def columns_of(info: LayerInfo, fields: ParcelFields, origin: str) -> Columns:
    """The columns that the registry entry maps; the parcel id's is guessed where it names none.

    Raises:
        SourceMisconfigured: a mapped column does not exist.
    """
    names = list(info.fields)

    def named(field: str | None) -> str | None:
        return None if field is None else require_field(field, names, origin)

    return Columns(
        object_id=info.object_id_field,
        parcel_id=choose_parcel_id(fields.parcel_id, names, origin),
        address=named(fields.address),
        house_number=named(fields.house_number),
        street=tuple(require_field(part, names, origin) for part in fields.street or ()),
        unit=named(fields.unit),
        city=named(fields.city),
        postcode=named(fields.postcode),
    )


def _text_in(attributes: Mapping[str, Any], name: str | None) -> str | None:
    return None if name is None else _text(attributes.get(name))


def _text(value: object) -> str | None:
    """What a column says without the blanks around it; house numbers come as "123.0" too."""
    text = (id_text(value) or "").strip()
    return re.sub(r"^(\d+)\.0+$", r"\1", text) or None
