"""How counties are written: `st-johns-fl` in a registry, "St. Johns County, FL" by people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# What people write after a county's name, and a key leaves out. A "city" says which of two it is.
_KINDS = r"(census-area|city-and-borough|county|parish|borough|municipality|municipio)"
_OF = r"(city|town|village|county|parish|borough)-of"


def slug(name: str) -> str:
    """A name in a-z, digits and single dashes: "St. Johns" -> "st-johns"."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")


def compact(name: str) -> str:
    """A name for comparison: no kind of place, no spaces, and one spelling of "Saint".

    "De Kalb County" and "DeKalb" are one, and so are "St. Clair" and "saint_clair".
    """
    bare = bare_slug(name)
    return re.sub(r"^(saint|ste|sainte)-", "st-", bare).replace("-", "")


def bare_slug(name: str) -> str:
    """A name without its kind: "Montrose County" -> "montrose", "city_of_bethel" -> "bethel"."""
    without = re.sub(rf"-{_KINDS}$", "", slug(name))
    return re.sub(rf"^{_OF}-", "", without)


def read_name(written: str, states: Mapping[str, str]) -> tuple[str, str | None]:
    """A county's name as people write it -> its slug without its kind, and its state's code.

    "City of X" is "x-city", as in a key.

    Args:
        written: "Montrose County, CO", "montrose-co", "Montrose".
        states: the slugs of the states' names and codes -> their codes.
    """
    whole = slug(written)
    # "west-virginia" ends with "virginia" too.
    endings = sorted((s for s in states if whole.endswith(f"-{s}")), key=len)
    state = endings[-1] if endings else None
    name = whole.removesuffix(f"-{state}") if state else whole
    of = re.match(r"(city|town)-of-(.+)", name)
    name = f"{of[2]}-{of[1]}" if of else bare_slug(name)
    return name, states[state] if state else None
