"""Finds a county's key by its name: first in the registry file, then in the shipped layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from parcels.errors import RegistryError
from parcels.registry.county import County
from parcels.registry.county_names import compact, parse_county_name
from parcels.registry.shipped_layers import ShippedLayers
from parcels.registry.us_states import states_as_written

_FIPS = re.compile(r"[0-9]{5}")
# Characters of a county name; a path or shell syntax is never a name.
_NAME = re.compile(r"\w([\w ,'-]|\.(?!\.))*")


def find_key(written: str, own: Mapping[str, County], shipped: ShippedLayers) -> str | None:
    """The key of a county by key, name or FIPS code; None if unknown.

    An exact key comes first, in the file before the shipped layers. A name matches in any case,
    with or without spaces, "County" and the state, and in any spelling of "Saint".

    Raises:
        RegistryError: several counties have the name; the message lists them.
    """
    if written in own or written in shipped:
        return written
    name = written.strip()
    if not _NAME.fullmatch(name):
        return None
    keys = (
        _with_fips(name, own, shipped) if _FIPS.fullmatch(name) else _with_name(name, own, shipped)
    )
    if len(keys) > 1:
        raise RegistryError(
            f"{len(keys)} counties are called {written!r}: {', '.join(sorted(keys))}; write one of "
            "these keys"
        )
    return keys[0] if keys else None


def _with_fips(code: str, own: Mapping[str, County], shipped: ShippedLayers) -> list[str]:
    own_keys = [key for key, county in own.items() if county.fips == code]
    return own_keys or shipped.with_fips(code)


def _with_name(name: str, own: Mapping[str, County], shipped: ShippedLayers) -> list[str]:
    base, state = parse_county_name(name, states_as_written())
    own_keys = [key for key, county in own.items() if _has_name(key, county, base, state)]
    return own_keys or _shipped_with_name(base, state, shipped)


def unknown_county_message(written: str, own: Iterable[str], shipped: ShippedLayers) -> str:
    """The error message for an unknown county: close matches, and where to find the names."""
    names = sorted(own)
    close = get_close_matches(written[:80].lower(), [*names, *shipped], n=3)
    guess = f"; did you mean {' or '.join(map(repr, close))}? " if close else ". "
    _, state = parse_county_name(written[:80], states_as_written())
    statewide = f"statewide-{(state or '').lower()}"
    guess += f"{statewide!r} has parcels of all of {state}. " if statewide in shipped else ""
    code = written.strip()
    is_code = _FIPS.fullmatch(code)
    missing = f"layer with FIPS {code}" if is_code else f"county {written[:80]!r}"
    return (
        f"no {missing}{guess}The counties are: "
        f"{', '.join(names[:50]) or 'none yet'}, and {len(shipped):,} more with names like "
        "'montrose-co'. `lotline registry list --state CO` lists those of a state; `lotline "
        "registry add` adds a county; --registry names the file of one of your own"
    )


def _has_name(key: str, county: County, base: str, state: str | None) -> bool:
    name, own_state = parse_county_name(key, states_as_written())
    if county.state is not None and own_state != county.state:
        # The end of the key is part of the name: "rio_in" is not necessarily in Indiana.
        name, own_state = parse_county_name(f"{key}-{county.state}", states_as_written())
    return compact(name) == compact(base) and state in (None, own_state)


def _shipped_with_name(base: str, state: str | None, shipped: ShippedLayers) -> list[str]:
    wanted = compact(base)
    ending = "" if state is None else f"-{state.lower()}"
    # A shipped key is COUNTY-ST.
    return [key for key in shipped if key.endswith(ending) and compact(key[:-3]) == wanted]
