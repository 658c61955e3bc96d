"""A county's name as people write it -> its key: among a file's entries, then the shipped ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from parcels.catalogue.county_names import compact, read_name
from parcels.catalogue.shipped_layers import ShippedLayers
from parcels.catalogue.us_states import states_as_written
from parcels.errors import RegistryError
from parcels.registry.county import County

_FIPS = re.compile(r"[0-9]{5}")
# What people write a name with: no path and no shell's sign is taken for one, however it ends.
_A_NAME = re.compile(r"\w([\w ,'-]|\.(?!\.))*")


def find_key(written: str, own: Mapping[str, County], shipped: ShippedLayers) -> str | None:
    """The key that is meant; None where there is none.

    An exact key counts first, of the file before the shipped ones; then the name without regard
    to case, spaces, "County" and the spelling of "Saint", with or without its state; and a FIPS
    code.

    Raises:
        RegistryError: several counties have the name; it lists them.
    """
    if written in own or written in shipped:
        return written
    name = written.strip()
    if not _A_NAME.fullmatch(name):
        return None
    keys = _with_fips(name, own, shipped) if _FIPS.fullmatch(name) else _called(name, own, shipped)
    if len(keys) > 1:
        raise RegistryError(
            f"there are {len(keys)} counties called {written!r}: {', '.join(sorted(keys))}; write "
            "one of these"
        )
    return keys[0] if keys else None


def _with_fips(code: str, own: Mapping[str, County], shipped: ShippedLayers) -> list[str]:
    mine = [key for key, county in own.items() if county.fips == code]
    return mine or shipped.with_fips(code)


def _called(name: str, own: Mapping[str, County], shipped: ShippedLayers) -> list[str]:
    base, state = read_name(name, states_as_written())
    mine = [key for key, county in own.items() if _is_called(key, county, base, state)]
    return mine or _shipped_called(base, state, shipped)


def unknown_county_message(written: str, own: Iterable[str], shipped: ShippedLayers) -> str:
    """What to say of a name that is no county's."""
    names = sorted(own)
    close = get_close_matches(written[:80].lower(), [*names, *shipped], n=3)
    guess = f"; did you mean {' or '.join(map(repr, close))}? " if close else ". "
    _, state = read_name(written[:80], states_as_written())
    whole = f"statewide-{(state or '').lower()}"
    guess += f"{whole!r} has parcels of all {state}. " if whole in shipped else ""
    code = written.strip()
    is_code = _FIPS.fullmatch(code)
    missing = f"layer with FIPS {code}" if is_code else f"county {written[:80]!r}"
    return (
        f"there is no {missing}{guess}The counties are: "
        f"{', '.join(names[:50]) or 'none yet'}, and {len(shipped):,} more with names like "
        "'montrose-co'. `lotline registry list --state CO` shows those of a state; `lotline "
        "registry add` makes an entry"
    )


def _is_called(key: str, county: County, base: str, state: str | None) -> bool:
    name, own_state = read_name(key, states_as_written())
    if county.state is not None and own_state != county.state:
        # The end of the key is a part of its name: "rio_in" need not lie in Indiana.
        name, own_state = read_name(f"{key}-{county.state}", states_as_written())
    return compact(name) == compact(base) and state in (None, own_state)


def _shipped_called(base: str, state: str | None, shipped: ShippedLayers) -> list[str]:
    wanted = compact(base)
    ending = "" if state is None else f"-{state.lower()}"
    # A shipped key is COUNTY-ST.
    return [key for key in shipped if key.endswith(ending) and compact(key[:-3]) == wanted]
