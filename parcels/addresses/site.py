"""The site address of a parcel row: the columns of a layer, as the county writes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SiteAddress:
    """The address columns of a lot, as written by the county; None for an empty column.

    `line` is the full address in one column; the other parts have columns of their own.
    """

    line: str | None = None
    house_number: str | None = None
    street: str | None = None
    unit: str | None = None
    city: str | None = None
    postcode: str | None = None
