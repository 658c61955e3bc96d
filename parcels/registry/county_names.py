"""Name spellings of counties: the key `st-johns-fl`, and "St. Johns County, FL" for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# Kinds that people write after a name and a key omits. "city" stays: it can tell two apart.
_KINDS = r"(census-area|city-and-borough|county|parish|borough|municipality|municipio)"
_OF = r"(city|town|village|county|parish|borough)-of"


def slug(name: str) -> str:
    """A name in a-z, digits and single dashes: "St. Johns" -> "st-johns"."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")


def compact(name: str) -> str:
    """A name normalized for comparison: no kind, no spaces, and one spelling of "Saint".

    "De Kalb County" equals "DeKalb", and "St. Clair" equals "saint_clair".
    """
    bare = bare_slug(name)
    return re.sub(r"^(saint|ste|sainte)-", "st-", bare).replace("-", "")


def bare_slug(name: str) -> str:
    """A name without its kind: "Montrose County" -> "montrose", "city_of_bethel" -> "bethel"."""
    without = re.sub(rf"-{_KINDS}$", "", slug(name))
    return re.sub(rf"^{_OF}-", "", without)


def parse_county_name(written: str, states: Mapping[str, str]) -> tuple[str, str | None]:
    """A county's name as people write it -> its slug without the kind, and the state code.

    "City of X" becomes "x-city", as in keys.

    Args:
        written: "Montrose County, CO", "montrose-co", "Montrose".
        states: slugs of state names and codes -> state codes.
    """
    full_slug = slug(written)
    # "west-virginia" ends with "virginia" too.
    endings = sorted((s for s in states if full_slug.endswith(f"-{s}")), key=len)
    state = endings[-1] if endings else None
    name = full_slug.removesuffix(f"-{state}") if state else full_slug
    match = re.match(r"(city|town)-of-(.+)", name)
    name = f"{match[2]}-{match[1]}" if match else bare_slug(name)
    return name, states[state] if state else None
