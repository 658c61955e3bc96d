"""US street addresses, taken apart and written one way, so that two spellings can be compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreetAddress:
    """A street address in capitals, with USPS abbreviations and without punctuation.

    Attributes:
        house_number: "123", "123A", "12-34"; as written, without leading zeros.
        street: direction, name and suffix: "N MAIN ST".
        street_name: the name alone: "MAIN". What a server is asked for.
    """

    house_number: str
    street: str
    street_name: str
    unit: str | None = None
    city: str | None = None
    state: str | None = None
    postcode: str | None = None
