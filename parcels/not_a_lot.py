"""Which rows of a parcel layer are not lots: rights of way, railways, water, gaps, placeholders.

Counties fill the gaps between lots with polygons, so that the layer covers the ground. Their id is
a word ("ROW", "UNKNOWN"), a number that stands for none ("0", "-9999") or blank; some layers have
a column for the type instead, such as MassGIS's `POLY_TYPE` beside an id of its own.
"""

from __future__ import annotations

import re

from parcels.addresses.matching import has_house_number
from parcels.parcel_source import ParcelRow
from parcels.untrusted import sanitize_text

# Ways, water and gaps, each also as the plural and with a number: "ROW 12", "HIGHWAY 61".
_WAYS = (
    r"R ?/? ?W|R ?/? ?O ?/? ?W|ROFW|RTOFWAY|RIGHTS? ?(OF|0F) ?WAYS?|RIGHTS?OFWAYS?|"
    r"ROAD(WAY)?|STREET|ALLEY(WAY)?|AVENUE|HIGHWAY|HWY|FREEWAY|INTERSTATE|MEDIAN|EASEMENT|"
    r"RAIL ?ROAD|RAIL ?WAY|RAIL|GAP|OVERLAP|SLIVER"
)
# Words that are part of real ids too, so only without a number: "LAKE-12" may be a lot.
_WATER = (
    r"WATER( ?WAY| ?BODY)?|HYDRO(GRAPHY|LOGY)?|RIVER|LAKE|POND|CREEK|STREAM|CANAL|BAY|OCEAN|SEA|"
    r"LAGOON|RESERVOIR|SUBMERGED|RR|OPEN ?WATER"
)
_NO_ID = (
    r"UNKNOWN|UNK|UNKN|U/K|NONE|NULL|NAN|NIL|N/?A|NO ?(ID|PIN|PID|APN|DATA|PARCEL|NUMBER|NUM)|VOID|"
    r"MISSING|UNASSIGNED|UNDEFINED|UNIDENTIFIED|UNNUMBERED|TBD|TBA|BLANK|EMPTY|"
    r"NOT? ?(ASSIGNED|AVAILABLE|APPLICABLE|KNOWN|A ?(LOT|PARCEL))"
)
# Words around these: "PUBLIC ROW", "PRIV_ROW", "RAIL_ROW", "CITY STREET", "RIVERS AND LAKES".
_BESIDE = (
    r"PUBLIC|PUB|PRIVATE|PRIV|PVT|STATE|COUNTY|CITY|TOWN|US|FEDERAL|LOCAL|DEDICATED|VACATED|"
    r"EXISTING|OTHER|AND|OR|OF|THE|LAND|LANDS|AREA|PARCEL|NON|TAX|TYPE|DITCH|IRRIGATION|CHANNEL|"
    r"DRAINAGE|UTILITY|SURFACE"
)
_WORDS = re.compile(
    rf"(({_BESIDE}) )*"
    rf"((({_WAYS})(E?S)?( ?\d{{1,6}}){{0,3}})|(({_WATER})(E?S)?)|({_NO_ID})( ?\d{{1,6}})?)"
    rf"( (({_BESIDE})|({_WAYS})(E?S)?|({_WATER})(E?S)?))*"
)
# Numbers that stand for none: zeros, negative ones, at least five nines, and two X or more.
_NUMBER_FOR_NONE = re.compile(r"[0 .-]*|-\s*\d+(\.0*)?|(9[ .-]?){5,}|X[X -]*X", re.ASCII)


def is_placeholder(parcel_id: str) -> bool:
    """Whether it is a placeholder and not an id: "ROW", "0", "UNKNOWN"."""
    text = parcel_id.strip().upper()
    if _NUMBER_FOR_NONE.fullmatch(text):
        return True
    return not any(map(str.isalnum, text)) or is_not_lot_text(text)


def is_not_lot_text(text: str) -> bool:
    """Whether the text, a parcel id or type, says that it is not a lot: "PRIV_ROW", "Water"."""
    words = " ".join(re.sub(r"[^A-Z0-9/]+", " ", text.upper().replace(".", "")).split())
    return bool(words) and _WORDS.fullmatch(words) is not None


def not_a_lot_reason(row: ParcelRow) -> str:
    """Why the row is not a lot, as the end of "it is not a lot, as …"; empty if it may be one.

    A placeholder with a house number is a lot: some counties number lots only by address.
    """
    if row.parcel_type is not None and is_not_lot_text(row.parcel_type):
        return f"its type is {sanitize_text(row.parcel_type)!r}"
    if has_house_number(row.site):
        return ""
    if row.lacks_id:
        return "it has no parcel id"
    if row.parcel_id is not None and is_placeholder(row.parcel_id):
        return f"its parcel id is {sanitize_text(row.parcel_id)!r}"
    return ""
