"""A property, and the result of its lookup: a lot, no lot, unavailable, or not located."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Real
from typing import Literal

from shapely import MultiPolygon, Point, to_wkb

from parcels.errors import PropertyError

BoundarySource = Literal["lot", "buffer_30m"]
Method = Literal["parcel_id", "address", "point", "house_number", "no_lot", "unavailable"]
Locator = Literal["given", "parcel_layer", "geocode_server", "census"]
NoBoundaryReason = Literal[
    "unavailable",
    "misconfigured",
    "not_found",
    "outside_county",
    "bad_geometry",
    "address_not_found",
    "address_ambiguous",
    "address_unconfirmed",
]


@dataclass(frozen=True, slots=True)
class Property:
    """A property to look up: its id, with a point (EPSG:4326), a parcel id or an address.

    At least one of the three is needed.

    Raises:
        PropertyError: all three are missing, the coordinates are not on Earth, or a value has a
            wrong type: ids and addresses are text, so that leading zeros count.
    """

    property_id: str
    longitude: float | None = None
    latitude: float | None = None
    parcel_id: str | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        for name in ("property_id", "parcel_id", "address"):
            _check_text(self.property_id, name, getattr(self, name))
        for name in ("longitude", "latitude"):
            _check_number(self.property_id, name, getattr(self, name))
        if not self.property_id:
            raise PropertyError("property_id is empty: give each property a unique id")
        if (self.longitude is None) != (self.latitude is None):
            raise PropertyError(
                f"property {self.property_id}: give both longitude and latitude, or neither"
            )
        if self.longitude is not None and self.latitude is not None:
            _check_point(self.property_id, self.longitude, self.latitude)
        elif not self.parcel_id and not self.address:
            raise PropertyError(
                f"property {self.property_id}: give longitude and latitude, a parcel_id, or an "
                "address"
            )

    @property
    def point(self) -> Point | None:
        """The point in EPSG:4326 (x = longitude, y = latitude); None without coordinates."""
        return None if self.longitude is None else Point(self.longitude, self.latitude)


def _check_text(property_id: object, name: str, value: object) -> None:
    if isinstance(value, str) or (value is None and name != "property_id"):
        return
    raise PropertyError(
        f"property {property_id!r}: {name} is {value!r} ({type(value).__name__}); give it as text"
    )


def _check_number(property_id: object, name: str, value: object) -> None:
    if value is None or (isinstance(value, Real) and not isinstance(value, bool)):
        return
    raise PropertyError(
        f"property {property_id!r}: {name} is {value!r} ({type(value).__name__}); give decimal "
        "degrees as a number"
    )


def _check_point(property_id: str, longitude: float, latitude: float) -> None:
    if -180 <= longitude <= 180 and -90 <= latitude <= 90:
        return
    swapped = -180 <= latitude <= 180 and -90 <= longitude <= 90
    hint = "longitude and latitude look swapped" if swapped else "use decimal degrees (EPSG:4326)"
    raise PropertyError(
        f"property {property_id}: longitude {longitude}, latitude {latitude} is not on Earth; "
        f"{hint}"
    )


@dataclass(frozen=True, slots=True)
class Located:
    """Where a property is, in EPSG:4326 degrees, and how it was located.

    Attributes:
        confidence: 1 for given coordinates and for an exact match with the county's address;
            lower for others, down to 0. It ranks candidates and is not a probability.
        interpolated: the point was interpolated along the street, not measured at the house.
        matched: the matched address; empty for given coordinates.
    """

    longitude: float
    latitude: float
    method: Locator = "given"
    confidence: float = 1.0
    interpolated: bool = False
    matched: str = ""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The polygon to measure: a county's lot, or the fallback buffer of 30 m.

    Attributes:
        geometry: an EPSG:4326 MultiPolygon; for a lot in several rows with one id, their union.
        area_m2: its equal-area size.
        method: how it was found: by parcel id or address, at the point, as the nearest lot with
            the house number (`house_number`); or why it is only a buffer.
        origin: the URL or file that it comes from.
        parcel_ids: every id that the county has for this geometry (stacked condominiums have many).
        located: where the point came from; None if it was found by parcel id.
        note: something that a person should check.
    """

    geometry: MultiPolygon
    source: BoundarySource
    area_m2: float
    method: Method
    origin: str
    parcel_ids: tuple[str, ...] = ()
    fetched_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    located: Located | None = None
    note: str = ""

    @property
    def version(self) -> str:
        """SHA-256 of source and geometry; the same lot always has the same version."""
        digest = hashlib.sha256(self.source.encode())
        digest.update(to_wkb(self.geometry, byte_order=1))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Lot:
    """The lot was found."""

    boundary: Boundary
    status: Literal["lot"] = "lot"


@dataclass(frozen=True, slots=True)
class NoLot:
    """The source has no lot here.

    Attributes:
        located: the place; None for a parcel id.
        detail: why a polygon there is not a lot, such as a right of way; empty if there is none.
        similar_ids: of several lots, any of which the given id may mean: equal but for leading
            zeros.
    """

    located: Located | None = field(default=None, compare=False)
    detail: str = field(default="", compare=False)
    similar_ids: tuple[str, ...] = field(default=(), compare=False)
    status: Literal["none"] = "none"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The source failed, which says nothing about whether there is a lot."""

    detail: str
    reason: Literal["unavailable", "misconfigured", "bad_geometry"] = "unavailable"
    status: Literal["unavailable"] = "unavailable"


@dataclass(frozen=True, slots=True)
class NotLocated:
    """The property could not be located, so no lot was searched."""

    reason: Literal[
        "outside_county", "address_not_found", "address_ambiguous", "address_unconfirmed"
    ]
    detail: str
    status: Literal["not_located"] = "not_located"


LookupResult = Lot | NoLot | Unavailable | NotLocated


@dataclass(frozen=True, slots=True)
class NoBoundary:
    """Why a property has no boundary."""

    reason: NoBoundaryReason
    detail: str
