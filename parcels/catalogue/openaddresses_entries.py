"""OpenAddresses layers -> registry entries, and a reason for everything that was dropped."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from parcels.catalogue.address_columns import address_fields
from parcels.catalogue.openaddresses import SourceLayer
from parcels.errors import RegistryError
from parcels.registry.county_names import bare_slug, compact, slug
from parcels.registry.entry import validate_entry
from parcels.registry.us_counties import UsCounty, county_named, us_counties
from parcels.registry.us_states import STATES
from parcels.untrusted import sanitize_text

RegistryEntry = dict[str, Any]
_MAX_REASON_LENGTH = 1_000

# Row numbers change when a layer is reloaded, and a township, map number or label angle does not
# identify a lot.
_NOT_PARCEL_IDS = re.compile(
    r"(^|\.)(object_?id|fid|oid|id|name|shape.*|global_?id|gdo_gid|ll_uuid|angle|feature|map"
    r"|s_?t_?r)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class DroppedLayer:
    """A layer, or one value of it, that is not in the registry.

    Attributes:
        source: the source file.
        key: the entry without this value; empty if the complete layer was dropped.
        what: "layer", or the key of the entry that was left out or corrected.
        given: the value in the source.
    """

    source: str
    key: str
    what: str
    given: str
    reason: str


def entries_of(
    layers: Iterable[SourceLayer],
) -> tuple[dict[str, RegistryEntry], list[DroppedLayer]]:
    """Registry entries by key, in order; and everything that was dropped, with the reason.

    Every layer is either an entry or dropped.
    """
    dropped: list[DroppedLayer] = []
    usable: list[SourceLayer] = []
    for layer in layers:
        if layer.problem:
            dropped.append(_dropped_layer(layer, layer.problem))
        else:
            usable.append(layer)
    rejected = _url_conflicts(usable)
    entries: dict[str, RegistryEntry] = {}
    for layer in usable:
        reason = rejected.get(layer.source + layer.url)
        if reason is not None:
            dropped.append(_dropped_layer(layer, reason))
            continue
        try:
            key, entry, left_out = _entry(layer)
        except (RegistryError, ValueError) as error:  # ValueError: a URL like http://[x
            dropped.append(_dropped_layer(layer, sanitize_text(error, _MAX_REASON_LENGTH)))
            continue
        if key in entries:
            dropped.append(_dropped_layer(layer, f"is a second layer of {key}; the first is used"))
            continue
        entries[key] = entry
        dropped += left_out
    return dict(sorted(entries.items())), dropped


def _dropped_layer(layer: SourceLayer, reason: str) -> DroppedLayer:
    return DroppedLayer(layer.source, "", "layer", layer.url, reason)


def _url_conflicts(layers: Sequence[SourceLayer]) -> dict[str, str]:
    """URLs that several sources use: source and URL -> why this one is rejected."""
    sources_by_url: dict[str, list[SourceLayer]] = defaultdict(list)
    for layer in layers:
        sources_by_url[_service_url(layer.url).lower()].append(layer)
    reasons: dict[str, str] = {}
    for same_url in sources_by_url.values():
        if len(same_url) == 1:
            continue
        named = [layer for layer in same_url if compact(_stem(layer)) in compact(layer.url)]
        if len(named) != 1:
            sources = ", ".join(layer.source for layer in same_url)
            reason = f"has the same URL as other places ({sources}), and none is named in it"
            reasons |= {layer.source + layer.url: reason for layer in same_url}
            continue
        reason = f"has the URL of {named[0].source}, whose name is in it"
        reasons |= {layer.source + layer.url: reason for layer in same_url if layer is not named[0]}
    return reasons


def _entry(layer: SourceLayer) -> tuple[str, RegistryEntry, list[DroppedLayer]]:
    """The key and the entry of a layer, and the values that were left out.

    Raises:
        RegistryError: the layer cannot be an entry.
    """
    if layer.state not in STATES:
        raise RegistryError(f"is not in a US state ({layer.state or 'none given'})")
    place = _place(layer)
    key, name = _key_and_name(layer, place)
    left_out: list[DroppedLayer] = []

    def leave_out(what: str, given: str, reason: str) -> None:
        left_out.append(DroppedLayer(layer.source, key, what, given, reason))

    url, number = _url_and_layer(layer.url)
    entry: RegistryEntry = {"name": name, "state": layer.state}
    if place is not None:
        entry["fips"] = place.fips
    if layer.geoid and layer.geoid != entry.get("fips"):
        leave_out("fips", layer.geoid, _code_problem(layer, place))
    entry |= {"url": url, "layer": number}
    if layer.headers:
        entry["headers"] = dict(layer.headers)
    fields: dict[str, Any] = {}
    if len(layer.parcel_id) == 1 and not _NOT_PARCEL_IDS.search(layer.parcel_id[0]):
        fields["parcel_id"] = layer.parcel_id[0]
    elif layer.parcel_id:
        several = len(layer.parcel_id) > 1
        problem = "is made of several columns" if several else "is not a parcel id"
        leave_out("fields.parcel_id", "+".join(layer.parcel_id), problem)
    mapped, reasons = address_fields(layer)
    fields |= mapped
    for what, given, reason in reasons:
        leave_out(f"fields.{what}", given, reason)
    if fields:
        entry["fields"] = fields
    validate_entry(key, entry)
    return key, entry, left_out


def _place(layer: SourceLayer) -> UsCounty | None:
    """The county of a layer; None if it covers a city, a state or several counties.

    The file name counts more than the code, which is often copied from another file.
    """
    state = layer.state
    if _is_state(layer):
        if layer.kind == "state":
            return None
        inside = [p for p in us_counties().values() if p.state == state and _in_host(p, layer.url)]
        return inside[0] if len(inside) == 1 else None
    if _is_city(layer):
        return county_named(state, _stem(layer), city=True)
    coded = us_counties().get(layer.geoid)
    named = county_named(state, _stem(layer)) or county_named(state, layer.county)
    if coded is not None and coded.state == state and named is not None:
        # The code decides between two counties of one name.
        return coded if compact(coded.name) == compact(named.name) else named
    if named is not None:
        return named
    return coded if coded is not None and coded.state == state else None


def _in_host(place: UsCounty, url: str) -> bool:
    return compact(place.name) in compact(urlsplit(url).hostname or "")


def _key_and_name(layer: SourceLayer, place: UsCounty | None) -> tuple[str, str]:
    """The key of the entry, COUNTY-ST, and its name for people."""
    state = layer.state.lower()
    if place is not None:
        city = "-city" if place.shares_its_name else ""
        return f"{slug(place.name)}{city}-{state}", _full_name(layer, place)
    if _is_state(layer):
        return f"statewide-{state}", STATES[layer.state][1]
    stem = bare_slug(_stem(layer))
    written = layer.municipality or layer.county
    name = written if compact(written) == compact(stem) else stem.replace("-", " ")
    name = name.title() if name.islower() else name
    if not _is_city(layer):
        return f"{stem}-{state}", name
    kind = "town" if layer.kind == "town" else "city"
    # Culver City ends with "city" already.
    suffix = "" if stem.endswith(f"-{kind}") else f"-{kind}"
    return f"{stem}{suffix}-{state}", f"{kind.title()} of {name}"


def _full_name(layer: SourceLayer, place: UsCounty) -> str:
    """The county's name with its kind; in Alaska the kind that the Census uses."""
    kinds = r" (City and Borough|Borough|Municipality|Census Area)$"
    kind = re.search(kinds, layer.census_name) if place.state == "AK" else None
    return place.full_name + (kind[0] if kind else "")


def _stem(layer: SourceLayer) -> str:
    return layer.source.rsplit("/", 1)[-1].removesuffix(".json")


def _is_state(layer: SourceLayer) -> bool:
    return bare_slug(_stem(layer)) in ("statewide", "state")


def _is_city(layer: SourceLayer) -> bool:
    coded = us_counties().get(layer.geoid)
    if coded is not None and slug(_stem(layer)) == slug(coded.name):
        return False  # marked as a city, but with the name and code of a county
    if layer.kind in ("city", "town", "village") or slug(_stem(layer)).startswith("city-of-"):
        return True
    # A city code, and no county has this name.
    return len(layer.geoid) == 7 and county_named(layer.state, _stem(layer)) is None


def _code_problem(layer: SourceLayer, place: UsCounty | None) -> str:
    if len(layer.geoid) != 5:
        what = {2: "a state", 7: "a city"}.get(len(layer.geoid), "an unknown kind")
        return f"is the code of {what}, not of a county"
    coded = us_counties().get(layer.geoid)
    of = f"{coded.full_name}, {coded.state}" if coded is not None else "no county"
    if place is None:
        return f"is the code of {of}, but the layer is of {_key_and_name(layer, None)[1]}"
    name = _full_name(layer, place)
    return f"is the code of {of}; used is {place.fips} of {name}, {place.state}"


def _service_url(url: str) -> str:
    plain = url.partition("?")[0].rstrip("/")
    return re.sub(r"/mapserver\b", "/MapServer", plain, flags=re.IGNORECASE)


def _url_and_layer(url: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*/(?:MapServer|FeatureServer))/(\d{1,12})", _service_url(url))
    if found is None:
        raise RegistryError("is not a layer of a MapServer or FeatureServer")
    return found[1], int(found[2])
