"""Words of US street names: directions, suffixes, ordinals, saints and their abbreviations."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, reduce

_ONES = ("FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "SIXTH", "SEVENTH", "EIGHTH", "NINTH")
_TEENS = (
    "TENTH", "ELEVENTH", "TWELFTH", "THIRTEENTH", "FOURTEENTH", "FIFTEENTH", "SIXTEENTH",
    "SEVENTEENTH", "EIGHTEENTH", "NINETEENTH",
)  # fmt: skip
_TENS = ("TWENT", "THIRT", "FORT", "FIFT", "SIXT", "SEVENT", "EIGHT", "NINET")

_CARDINALS = (
    "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN",
    "TWELVE",
)  # fmt: skip

# Abbreviations of counties that the Postal Service does not list.
_COUNTY_SUFFIXES = {
    "BL": "BLVD", "BLV": "BLVD", "BV": "BLVD", "BVD": "BLVD", "CI": "CIR", "CRSG": "XING",
    "HGWY": "HWY", "HY": "HWY", "LP": "LOOP", "PKW": "PKWY", "PLC": "PL", "PW": "PKWY",
    "RN": "RUN", "TE": "TER", "TL": "TRL", "TP": "TPKE", "TRC": "TRCE", "XNG": "XING",
}  # fmt: skip
# Suffixes that counties use for several words: CR is a creek here, a circle there.
_SEVERAL = {
    "CR": ("CR", "CIR", "CRES", "CRK"),
    "PK": ("PK", "PARK", "PIKE", "PKWY"),
    "TR": ("TR", "TER", "TRCE", "TRL"),
}
# Suffixes that end a street name, and are rarely a part of the name or of a city. Others are both:
# CEDAR CREEK may lack its DR, and RIVER FOREST is a city.
CORE_SUFFIXES = frozenset((
    "ALY", "AVE", "BLVD", "BYP", "CIR", "CSWY", "CT", "DR", "EXPY", "EXT", "FWY", "HWY", "LN",
    "LOOP", "PIKE", "PKWY", "PL", "PLZ", "RD", "SQ", "ST", "TER", "TPKE", "WAY",
))  # fmt: skip
# They end a name too, but are inside another one more often: MILL RUN RD.
_OTHER_ENDINGS = frozenset((
    "BND", "CRES", "CRSE", "CV", "CVS", "MEWS", "PASS", "PATH", "ROW", "RUN", "TRCE", "TRL", "WALK",
    "XING",
))  # fmt: skip
# Name words with several spellings, beside the suffixes.
_SHORT_WORDS = {
    "SAINT": "ST", "SAINTE": "STE", "MOUNT": "MT", "FORT": "FT", "DOCTOR": "DR", "JUNIOR": "JR",
    "GENERAL": "GEN", "COLONEL": "COL", "CAPTAIN": "CAPT", "SERGEANT": "SGT", "REVEREND": "REV",
    "LIEUTENANT": "LT", "PRESIDENT": "PRES", "SENATOR": "SEN", "GOVERNOR": "GOV",
    "INTERNATIONAL": "INTL", "NATIONAL": "NATL", "MEMORIAL": "MEM", "UNIVERSITY": "UNIV",
    "COUNTRY": "CNTRY", "AVENIDA": "AVENIDA", "AVDA": "AVENIDA", "CLL": "CALLE",
    "CAM": "CAMINO", "CMT": "CAMINITO", "PSO": "PASEO", "HIGHWAY": "HWY", "ROUTE": "RTE",
}  # fmt: skip
# After ST they make a name, as in N ST CLAIR CT; other words after ST belong to a city.
SAINTS = frozenset((
    "AGNES", "ALBAN", "ALBANS", "ANDREW", "ANDREWS", "ANN", "ANNE", "ANNES", "ANNS", "ANTHONY",
    "ANTHONYS", "ANTOINE", "ARMAND", "ASAPH", "AUBIN", "AUGUSTINE", "BARNABAS", "BARTHOLOMEW",
    "BENEDICT", "BERNARD", "BERNARDS", "BONIFACE", "BRENDAN", "CATHERINE", "CATHERINES",
    "CECELIA", "CECILIA", "CHARLES", "CHRISTOPHER", "CLAIR", "CLAIRE", "CLARE", "CLEMENT",
    "CLOUD", "CROIX", "CYR", "DAVID", "DAVIDS", "DENIS", "DENNIS", "DOMINIC", "EDWARD", "EDWARDS",
    "ELIZABETH", "ELMO", "EMILIE", "EUGENE", "FERDINAND", "FRANCIS", "FRANCOIS", "GABRIEL",
    "GEORGE", "GEORGES", "GERMAIN", "GILES", "GREGORY", "HELEN", "HELENA", "HELENS", "HENRY",
    "HILAIRE", "IGNATIUS", "IVES", "JAMES", "JEAN", "JEROME", "JOAN", "JOE", "JOHN", "JOHNS",
    "JOSEPH", "JOSEPHS", "JUDE", "JULIAN", "JULIEN", "KATHERINE", "KEVIN", "KITTS", "LANDRY",
    "LAURENT", "LAWRENCE", "LEGER", "LEO", "LEON", "LEONARD", "LEONARDS", "LOUIS", "LUCIA",
    "LUCIE", "LUCY", "LUKE", "LUKES", "MALO", "MARGARET", "MARGARETS", "MARIE", "MARIES", "MARK",
    "MARKS", "MARTHA", "MARTIN", "MARTINS", "MARY", "MARYS", "MATTHEW", "MATTHEWS", "MAURICE",
    "MICHAEL", "MICHAELS", "MICHEL", "MONICA", "MORITZ", "NICHOLAS", "OLAF", "PATRICK",
    "PATRICKS", "PAUL", "PAULS", "PETER", "PETERS", "PHILIP", "PHILIPS", "PIERRE", "REGIS",
    "REMY", "RITA", "ROBERT", "ROCCO", "ROCH", "ROSE", "SEBASTIAN", "SIMON", "SIMONS",
    "STANISLAUS", "STEPHEN", "STEPHENS", "TAMMANY", "TERESA", "THERESA", "THOMAS", "TIMOTHY",
    "TROPEZ", "URBAN", "VINCENT", "VINCENTS", "VITUS", "VRAIN", "WILFRED", "XAVIER",
))  # fmt: skip
# Words of numbered roads: SR 76 is STATE ROUTE 76.
_ROAD_WORDS = frozenset((
    "ACCESS", "ALT", "ALTERNATE", "BUS", "BUSINESS", "BYP", "BYPASS", "CARR", "CARRETERA",
    "COUNTY", "CR", "CTH", "CTY", "FARM", "FEEDER", "FM", "FOREST", "FRONTAGE", "HALF", "HIGHWAY",
    "HWY", "I", "IH", "INTERSTATE", "MARKET", "PR", "PRIVATE", "PVT", "RANCH", "RD", "RM", "ROAD",
    "ROUTE", "RR", "RTE", "SERVICE", "SH", "SR", "STATE", "SVC", "TO", "TOWNSHIP", "TR", "TRUCK",
    "TWP", "US",
))  # fmt: skip
KING = re.compile(
    r"(?:(?:DR|DOCTOR) )?(?:REV )?(?:MARTIN LUTHER KING|M L KING|ML KING|MLK)(?: JR)?"
)
# O FALLON for O'FALLON: after a suffix or a number the O is no letter of a street.
_IRISH = re.compile(r"\bO (?=(?:BRIEN|DONNELL|FALLON|HARA|NEAL|NEIL|NEILL)\b)")


def normalize_words(text: str) -> str:
    """The text in capitals, digits and single spaces; accents and punctuation are removed.

    A decimal point between digits is kept: 39.2 RD is not 392 RD.
    """
    plain = unicodedata.normalize("NFKD", text.upper())
    letters = re.sub(r"[\u0300-\u036f\u02bb\u2018\u2019'`]|(?<!\d)\.|\.(?!\d)", "", plain)
    return _IRISH.sub("O", " ".join(re.sub(r"[^A-Z0-9/.]+", " ", letters).split()))


@cache
def suffixes() -> dict[str, str]:
    """STREET -> ST and so on: the single-word suffix abbreviations of the Postal Service."""
    from scourgify.address_constants import STREET_TYPE_ABBREVIATIONS

    postal = {long: short for long, short in STREET_TYPE_ABBREVIATIONS.items() if " " not in long}
    return {**_COUNTY_SUFFIXES, **postal, **{several: several for several in _SEVERAL}}


def is_core_suffix(word: str) -> bool:
    """Whether the word usually ends a street name: STREET, AVE, but not CREEK."""
    return suffixes().get(word) in CORE_SUFFIXES


def is_street_suffix(word: str) -> bool:
    """Whether the word can end a street name before its city: also TRAIL, not CREEK or LAKE."""
    suffix = suffixes().get(word, "")
    return suffix in CORE_SUFFIXES or suffix in _OTHER_ENDINGS


def is_same_suffix(one: str, two: str) -> bool:
    """Whether two abbreviated suffixes can be the same: CR is CIR or CRK."""
    return two in _SEVERAL.get(one, (one,)) or one in _SEVERAL.get(two, (two,))


@cache
def directions() -> dict[str, str]:
    """NORTH -> N and so on, also N -> N; SO and NO are Utah's."""
    from scourgify.address_constants import DIRECTIONAL_REPLACEMENTS

    short = dict(DIRECTIONAL_REPLACEMENTS)
    return {**short, **{each: each for each in short.values()}, "SO": "S", "NO": "N"}


def short_word(word: str) -> str:
    """A word of a name in one spelling: STREET is ST, SAINT too, and 21ST is 21."""
    if word in _SHORT_WORDS:
        return _SHORT_WORDS[word]
    if word in _CARDINALS:
        return str(_CARDINALS.index(word) + 1)
    numbered = re.fullmatch(r"(\d+)(?:ST|ND|RD|TH)", word)
    return numbered[1] if numbered else suffixes().get(word, word)


def normalize_ordinals(words: list[str]) -> list[str]:
    """Ordinals as digits: TWENTY FIRST -> 21ST, 5 TH -> 5TH."""
    tens = {f"{ten}Y": 20 + 10 * i for i, ten in enumerate(_TENS)}
    found: list[str] = []
    for word in words:
        last = found[-1] if found else ""
        if word in _ONES and last in tens:
            found[-1] = _ordinal(tens[last] + 1 + _ONES.index(word))
        elif word in ("TH", "ND") and last.isdigit():
            found[-1] += word
        else:
            found.append(_ordinals().get(word, word))
    return found


@cache
def variable_words() -> frozenset[str]:
    """Words with more than one spelling, or that one side often omits."""
    abbreviations = suffixes()
    return frozenset((
        *abbreviations, *abbreviations.values(), *directions(), *_SHORT_WORDS,
        *_SHORT_WORDS.values(), *_ordinals(), *_ONES, *(f"{ten}Y" for ten in _TENS),
        *_CARDINALS, "AND", "THE", "OF",
    ))  # fmt: skip


def stable_words(name: str) -> list[str]:
    """The words of a street name that have one spelling only; for prefilters."""
    if KING.search(name):
        return []
    omitted = _omitted_words(name)
    return [
        word
        for word in name.split()
        if word.isalpha() and word not in variable_words() and word not in omitted
    ]


def common_letters(name: str) -> str:
    """Letters that every spelling of a street name has in this order: CTR for CENTER; "" for none.

    They are of one word, a stable one if there is one.
    """
    if KING.search(name):
        return "MLK"
    stable = stable_words(name)
    if stable:
        return max(stable, key=len)
    omitted = _omitted_words(name)
    words = [word for word in name.split() if word.isalpha() and word not in omitted]
    return max((_letters_of_spellings(short_word(word)) for word in words), key=len, default="")


def _omitted_words(name: str) -> frozenset[str]:
    """The words that a numbered road may lack: SR 76 is STATE ROUTE 76, CTH DD is COUNTY RD DD."""
    words = name.split()
    is_lettered = len(words) > 1 and words[-2] in ("RD", "HWY")
    return _ROAD_WORDS if is_lettered or any(map(str.isdigit, name)) else frozenset()


@cache
def _letters_of_spellings(short: str) -> str:
    if short in directions() or short in _ordinals():
        return ""
    spellings = [word for word in (*suffixes(), *_SHORT_WORDS) if short_word(word) == short]
    if short == "AVENIDA":
        spellings.append("AVE")
    return reduce(_common_subsequence, spellings, short)


def _common_subsequence(one: str, two: str) -> str:
    if not one or not two:
        return ""
    if one[0] == two[0]:
        return one[0] + _common_subsequence(one[1:], two[1:])
    return max(_common_subsequence(one[1:], two), _common_subsequence(one, two[1:]), key=len)


@cache
def _ordinals() -> dict[str, str]:
    return {word: _ordinal(number) for number, word in enumerate((*_ONES, *_TEENS), start=1)} | {
        f"{ten}IETH": _ordinal(20 + 10 * i) for i, ten in enumerate(_TENS)
    }


def _ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return f"{number}TH"
    return f"{number}{({1: 'ST', 2: 'ND', 3: 'RD'}).get(number % 10, 'TH')}"
