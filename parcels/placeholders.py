"""Texts that stand for no lot: "ROW", "Water", "UNKNOWN", "0", in their many spellings."""

from __future__ import annotations

import re
from functools import lru_cache

# Rights of way. Numbers and a letter beside them do not make an id: "ROW 12", "12-ROW-3A".
_ROW = (
    r"R ?W|R ?O ?W|ROFW|R OF W|RTOFWAY|RIGHTS? ?(OF|0F) ?WA?YS?|RT OF WA?Y|RIGHTS?OFWAYS?|ROWS|"
    r"RAIL ?ROAD|RAIL ?WAY"
)
# Ways and gaps, also with a number after them: "HIGHWAY 61".
_WAYS = (
    r"ROAD(WAY)?|STREET|ALLEY(WAY)?|AVENUE|HIGHWAY|HWY|FREEWAY|INTERSTATE|MEDIAN|EASEMENT|RAIL|"
    r"GAP|OVERLAP|SLIVER|HIATUS|GORE|TRAFFIC ISLAND|ROUTE|RTE"
)
# Words that are part of real ids too, so only without a number: "LAKE-12" may be a lot.
_WATER = (
    r"WATER( ?WAY| ?BODY)?|HYDRO(GRAPHY|LOGY)?|RIVER|LAKE|POND|CREEK|STREAM|CANAL|BAY|OCEAN|SEA|"
    r"LAGOON|BAYOU|SLOUGH|GULF|INLET|HARBOR|ESTUARY|RIVER ?BED|RESERVOIR|SUBMERGED|"
    r"OPEN ?WATER|TIDE ?LAND|DITCH|DRAINAGE ?DITCH"
)
# Said of an id that is missing, and of a railroad; as a type, NA and RR may mean anything.
_NO_ID = (
    r"UNKNOWN|UNK|UNKN|UK|NONE|NULL|NAN|NIL|NA|NO ?(ID|PIN|PID|APN|DATA|PARCEL|NUMBER|NUM|VALUE)"
    r"( (ID|NUMBER|NUM))?|VOID|MISSING|UNASSIGNED|UNDEFINED|UNIDENTIFIED|UNNUMBERED|TBD|TBA|BLANK|"
    r"EMPTY|NON ?PARCEL|NOT? ?(ASSIGNED|AVAILABLE|APPLICABLE|KNOWN|A ?(LOT|PARCEL))|RR|R R"
)
# Words around these: "PUBLIC ROW", "PRIV_ROW", "DOT ROW", "CITY STREET", "RIVERS AND LAKES".
_BESIDE = (
    r"PUBLIC|PUB|PRIVATE|PRIV|PVT|STATE|COUNTY|CITY|TOWN|US|DOT|FEDERAL|LOCAL|DEDICATED|VACATED|"
    r"EXISTING|OTHER|AND|OR|OF|THE|ST|RD|LAND|LANDS|AREA|FEATURE|PARCEL|NON|TAX|TYPE|IRRIGATION|"
    r"CHANNEL|DRAINAGE|UTILITY|SURFACE"
)
# A railroad: "UPRR", "BNSF", "NORFOLK SOUTHERN RAILROAD CO". A type IRR is irrigated land.
_RAILROAD = (
    r"([A-Z]+ ){0,4}RAIL ?(ROAD|WAY)( (CO|COMPANY|CORP|INC))?|(UP|SP|BN|NS|IC|CN|MP)RR|BNSF|CSXT?|"
    r"AMTRAK|CONRAIL"
)
# Whose right of way it is: "TDOT ROW", "I 40 ROW", "BNSF ROW"; not "LOT WITH ROW".
_WHOSE = (
    r"(?!(LOT|NO|NOT|NON|WITH|NEAR|LESS) )[A-Z]{2,5}|RR|"
    r"(I|IH|(US|STATE) (HWY|RTE)|US|SR|SH|CR|FM|RTE|ROUTE|HWY|RD|LOOP|COUNTY RD) ?\d{1,4}[A-Z]?"
)
_ROW_TEXT = re.compile(
    rf"(({_BESIDE}|\d{{1,6}}) )*(0+)?({_ROW})"
    rf"( ?\d{{1,6}}(?!\d)| [A-Z]| ({_BESIDE})| ({_WAYS})(E?S)?| ({_ROW}))*"
    rf"|({_RAILROAD}|{_WHOSE}) ({_ROW})"
)
_RAILROAD_TEXT = re.compile(_RAILROAD)
_WAYS_TEXT = re.compile(
    rf"(({_BESIDE}) )*(({_WAYS})(E?S)?( ?\d{{1,6}}){{0,3}}|({_WATER})(E?S)?)"
    rf"( ({_BESIDE}|({_WAYS}|{_WATER}|{_ROW})(E?S)?))*"
)
_NO_ID_TEXT = re.compile(_NO_ID)
# Numbers that stand for none: zeros, -1 and -9999, at least eight nines, and two X or more.
_NUMBER_FOR_NONE = re.compile(r"[0 .-]*|-\s*(1|9+)(\.0*)?|(9[ .-]?){8,}|X[X -]*X", re.ASCII)
# What every such word has: most ids are told by this alone.
_MAY_BE_WORD = re.compile(r"[A-Z]{2}|R[^A-Z0-9]{1,3}(O[^A-Z0-9]{1,3})?W", re.IGNORECASE | re.ASCII)
# As an id, RD12 may be that of a lot.
_ROAD_TYPE = re.compile(r"((PRIVATE|PVT|PUBLIC|PRIV) )?RDS?|(COUNTY|STATE) RD \d{1,4}")


@lru_cache(maxsize=16_384)
def is_placeholder(parcel_id: str) -> bool:
    """Whether it is a placeholder and not an id: "ROW", "0", "UNKNOWN"."""
    text = parcel_id.strip().upper()
    if _NUMBER_FOR_NONE.fullmatch(text) or not any(map(str.isalnum, text)):
        return True
    words = _words(text)
    return (
        is_way_or_water(parcel_id)
        or _NO_ID_TEXT.fullmatch(words) is not None
        or _ROAD_TYPE.fullmatch(words) is not None
    )


@lru_cache(maxsize=16_384)
def is_right_of_way(text: str) -> bool:
    """Whether a parcel id or type says that it is a right of way or a railroad: "PRIV_ROW"."""
    if _MAY_BE_WORD.search(text) is None:
        return False
    words = _words(text)
    return any(each.fullmatch(words) is not None for each in (_ROW_TEXT, _RAILROAD_TEXT))


@lru_cache(maxsize=16_384)
def is_way_or_water(text: str) -> bool:
    """Whether a parcel id or type says that it is a way, water or a gap: "Water", "ROW 12"."""
    if _MAY_BE_WORD.search(text) is None:
        return False
    return is_right_of_way(text) or _WAYS_TEXT.fullmatch(_words(text)) is not None


def is_type_of_no_lot(text: str) -> bool:
    """Whether a parcel type says that it is not a lot: "Rd", "Non-Parcel", "Water/River"."""
    words = _words(text)
    is_road = _ROAD_TYPE.fullmatch(words) is not None
    return is_road or words in ("NON PARCEL", "NONPARCEL") or is_way_or_water(text)


@lru_cache(maxsize=16_384)
def _words(text: str) -> str:
    """In capitals, with single blanks: R/W and N/A are one word, Water/River are two."""
    upper = re.sub(r"\b([RNU])/([WAK])\b", r"\1\2", text.upper()).replace(".", "")
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", upper).split())
