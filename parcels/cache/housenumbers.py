"""Which rows may have an address: a sieve that lets through too many, and never too few."""

from __future__ import annotations

import re

from parcels.source import SiteAddress
from parcels.streetaddress import StreetAddress

_RANGE = re.compile(r"(\d{1,9})\s*-\s*(\d{1,9})")
_NUMBER = re.compile(r"\d{1,9}")
# "101-105" is a range of numbers; what is wider is two numbers, or a number of Queens.
_WIDEST_RANGE = 200


def site_numbers(site: SiteAddress | None) -> set[int]:
    """Every number that a row's address may have for its house."""
    if site is None:
        return set()
    return numbers_in(site.house_number or site.line or "")


def numbers_in(text: str) -> set[int]:
    """The whole numbers in a text, with those inside of a range; of a decimal the whole part."""
    text = re.sub(r"\.\d*", "", text)
    numbers = {int(digits) for digits in _NUMBER.findall(text)}
    for first, last in _RANGE.findall(text):
        if int(first) < int(last) <= int(first) + _WIDEST_RANGE:
            numbers.update(range(int(first), int(last)))
    return numbers


def may_be_on(site: SiteAddress, wanted: StreetAddress) -> bool:
    """Whether the longest word of the street's name is in the row's address."""
    written = site.street or site.line
    word = max(_words(wanted.street_name), key=len, default="")
    # Numbered streets are written in words too: FIRST, 1ST, 1.
    if written is None or not word or any(letter.isdigit() for letter in wanted.street_name):
        return True
    return word in "".join(_words(written))


def _words(text: str) -> list[str]:
    """The words in capitals, without apostrophes and the like."""
    return re.sub(r"[^A-Z0-9 ]", "", text.upper()).split()
