"""What is asked of a parcel source, and the answers: lot, none, unavailable, not located."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
    """What the user asks about: an id, with a point (EPSG:4326), a parcel id or an address.

    Several of them may be given; one is enough.

    Raises:
        PropertyError: none of them is given, or coordinates that are not on Earth.
    """

    property_id: str
    longitude: float | None = None
    latitude: float | None = None
    parcel_id: str | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if not self.property_id:
            raise PropertyError("property_id is empty: give each property an id of its own")
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
        """The point in EPSG:4326 (x = longitude, y = latitude), if there is one."""
        return None if self.longitude is None else Point(self.longitude, self.latitude)


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
    """Where a property is, in EPSG:4326 degrees, who said so, and how sure that is.

    Attributes:
        confidence: 1 for given coordinates, and for the county's own address where every word
            of the street agrees; else less, down to 0. It puts places in an order and is no
            probability.
        interpolated: the point was reckoned along the street, not taken at the house.
        matched: the address that was found; empty for given coordinates.
    """

    longitude: float
    latitude: float
    method: Locator = "given"
    confidence: float = 1.0
    interpolated: bool = False
    matched: str = ""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The polygon that is measured: a county's lot, or the 30 m buffer where there is none.

    `geometry` is an EPSG:4326 MultiPolygon; `area_m2` its equal-area size. `parcel_ids` holds
    every id that the county has for exactly this geometry (stacked condominiums have many). Of a
    lot that the county keeps in several rows of one id, it is all of them together.
    `origin` is the URL or file it came from. `method` says how it was found: by its parcel id or
    its address, at the point, as the nearest lot with the address's house number
    (`house_number`), or why there is only a buffer. `located` says where the point came from;
    None where a parcel id was enough. `note` is what a person should look at.
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
        """SHA-256 of the source and the geometry: the same lot twice has one version."""
        digest = hashlib.sha256(self.source.encode())
        digest.update(to_wkb(self.geometry, byte_order=1))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Lot:
    """There is a lot, and this is it."""

    boundary: Boundary
    status: Literal["lot"] = "lot"


@dataclass(frozen=True, slots=True)
class NoLot:
    """The source answered: there is no lot here. `located` says where; None for a parcel id."""

    located: Located | None = field(default=None, compare=False)
    status: Literal["none"] = "none"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The source did not answer, which says nothing about whether there is a lot."""

    detail: str
    reason: Literal["unavailable", "misconfigured", "bad_geometry"] = "unavailable"
    status: Literal["unavailable"] = "unavailable"


@dataclass(frozen=True, slots=True)
class NotLocated:
    """Nobody can say where the property is, so that no lot was looked for."""

    reason: Literal[
        "outside_county", "address_not_found", "address_ambiguous", "address_unconfirmed"
    ]
    detail: str
    status: Literal["not_located"] = "not_located"


LookupResult = Lot | NoLot | Unavailable | NotLocated


@dataclass(frozen=True, slots=True)
class NoBoundary:
    """Why a property has no boundary to be measured in."""

    reason: NoBoundaryReason
    detail: str
