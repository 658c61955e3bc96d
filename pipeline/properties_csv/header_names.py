"""The usual spellings of the columns of a properties file.

Case, spaces, punctuation and a unit do not count: "Property ID", "PropertyID" and "PROPERTY-ID" are
one spelling, "Latitude (deg)" and "LAT_WGS84" are latitudes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Role = Literal[
    "property_id", "longitude", "latitude", "coordinates", "parcel_id",
    "full_address", "address", "location", "house_number", "number_suffix", "pre_direction",
    "street", "street_type", "post_direction", "unit", "city", "state", "zip",
]  # fmt: skip

# For each role its spellings, the surest group first: a column of a later group has the role only
# if there is none of an earlier one.
_SPELLINGS: dict[Role, tuple[str, ...]] = {
    "property_id": (
        "propertyid propertyno propertynumber propertynum propid",
        "id idno",
        "ref refid refno refnumber reference referenceid referenceno referencenumber "
        "customerid customerno customernumber clientid clientno clientnumber leadid leadno "
        "leadnumber recordid recordno recordnumber accountid accountno accountnumber contactid "
        "jobid jobno jobnumber siteid siteno locationid orderid orderno caseid caseno memberid "
        "assetid uniqueid externalid uid uuid guid",
        "# no nr objectid fid serialno sno",
    ),
    "longitude": (
        "longitude lon lng long longi longitud londeg longdeg lonx longitudex xlon xlong "
        "xlongitude centroidlon centroidlng centroidlong centroidlongitude centerlon "
        "centerlongitude",
        "x xcoord xcoordinate coordx coordinatex pointx centroidx",
    ),
    "latitude": (
        "latitude lat lati latitud latdeg laty latitudey ylat ylatitude "
        "centroidlat centroidlatitude centerlat centerlatitude",
        "y ycoord ycoordinate coordy coordinatey pointy centroidy",
    ),
    "coordinates": (
        "latlon latlng latlong latitudelongitude latandlon latandlng latandlong "
        "latitudeandlongitude lonlat lnglat longlat longitudelatitude lonandlat lngandlat "
        "longandlat longitudeandlatitude",
        "coordinates coordinate coords coord gps gpscoordinates gpscoords gpslocation gpspoint "
        "geocoordinates geolocation geopoint geocode geopos point xy",
    ),
    "parcel_id": (
        "parcelid",
        "parcel parcelno parcelnumber parcelnum parcelnumb parcelidno parcelidnumber parcelcode "
        "parcelidentifier parcelidentification parcelidentificationno "
        "parcelidentificationnumber parcelpin parcelapn apn apnno apnnumber apnparcelno "
        "apnparcelnumber ain pin pinno pinnumber pid parid parno gpin upi strap folio foliono "
        "folionumber taxparcel taxparcelid taxparcelno taxparcelnumber taxlot taxlotid taxlotno "
        "taxmap taxmapid taxmapno taxmapnumber taxkey assessorparcel assessorparcelno "
        "assessorparcelnumber assessorsparcelno assessorsparcelnumber assessorid "
        "countyparcelid countyparcelno countyparcelnumber",
    ),
    "full_address": (
        "fulladdress completeaddress wholeaddress addressfull fullpropertyaddress "
        "fullsiteaddress fullstreetaddress formattedaddress singlelineaddress onelineaddress",
    ),
    "address": (
        "address addr address1 addr1 addressline addressline1 addressln1 streetaddress "
        "streetaddress1 streetaddressline1 situs siteaddress1 street1",
    ),
    "location": ("location",),
    "house_number": (
        "housenumber houseno housenum hno streetnumber streetno streetnum stnumber stno stnum "
        "addressnumber addressno addrnumber addrno buildingnumber buildingno",
    ),
    "number_suffix": (
        "numbersuffix housenumbersuffix addressnumbersuffix addrnumbersuffix streetnumbersuffix "
        "housesuffix fraction housefraction addressfraction addrfrac streetfraction",
    ),
    # The second groups are also parts of a person's name.
    "pre_direction": (
        "predirection predirectional predir streetdirection streetdir directionprefix "
        "prefixdirection prefixdir stdir streetprefix stprefix streetpredir streetpredirection "
        "stpredir",
        "direction dir prefix",
    ),
    "street": ("street streetname stname roadname road",),
    "street_type": (
        "streettype streetsuffix sttype stsuffix roadtype posttype streetposttype stposttype",
        "suffix",
    ),
    "post_direction": (
        "postdirection postdirectional postdir directionsuffix suffixdirection suffixdir "
        "streetpostdir streetpostdirection stpostdir",
    ),
    "unit": (
        "unit unitno unitnumber apt aptno aptnumber apartment apartmentno apartmentnumber suite "
        "suiteno suitenumber ste aptunit aptsuite unitapt",
        "address2 addr2 addressline2 addressln2 streetaddress2 streetaddressline2 street2",
    ),
    "city": ("city town cityname cityortown citytown municipality locality postalcity",),
    "state": ("state st statecode stateabbr stateabbreviation stateprovince province",),
    "zip": ("zip zipcode zip5 zipno postalcode postcode postal zippostal zippostalcode postalzip",),
}  # fmt: skip
_BY_SPELLING: dict[str, tuple[Role, int]] = {
    spelled: (role, rank)
    for role, groups in _SPELLINGS.items()
    for rank, group in enumerate(groups)
    for spelled in group.split()
}
_IN_BRACKETS = re.compile(r"[(\[{].*?[)\]}]")
# A unit or a system in the name of a coordinate; a place in that of an address.
_SYSTEM = re.compile(r"decimaldegrees|decimal|degrees?|deg|dd|wgs84?|epsg4326|4326|gps|geo|map")
_PLACE = re.compile(
    r"(?:site|situs|property|prop|location|physical|service|premises?|parcel|lot|subject|home|house)"
    r"(?=[a-z])"
)
_WITH_SYSTEM: frozenset[Role] = frozenset({"longitude", "latitude", "coordinates"})
_WITH_PLACE: frozenset[Role] = frozenset(
    {
        "full_address", "address", "street", "unit", "city", "state", "zip",
        "longitude", "latitude", "coordinates",
    }
)  # fmt: skip


def role_of(name: str) -> tuple[Role, int] | None:
    """The role of a column by its name, and its rank: 0 for the surest spellings."""
    spelled = spelling(name)
    if (found := _BY_SPELLING.get(spelled)) is not None:
        return found
    found = _BY_SPELLING.get(_SYSTEM.sub("", spelled))
    if found is not None and found[0] in _WITH_SYSTEM:
        return found
    place = _PLACE.match(spelled)
    found = None if place is None else _BY_SPELLING.get(spelled[place.end() :])
    return found if found is not None and found[0] in _WITH_PLACE else None


def is_longitude_first(name: str) -> bool:
    """Whether the name of a column with both coordinates begins with the longitude."""
    first = re.search(r"lat|lon|lng", spelling(name))
    return first is not None and first[0] != "lat"


def spelling(name: str) -> str:
    """A name without case, accents, brackets and punctuation; # is "no", and alone it is "#"."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    if plain.strip() == "#":
        return "#"
    plain = plain.replace("#", "no")
    for text in (_IN_BRACKETS.sub("", plain), plain):
        if letters := "".join(char for char in text if char.isascii() and char.isalnum()):
            return letters
    return ""
