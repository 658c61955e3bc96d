"""What sources say of layers -> registry entries; and what was left out of them, and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from parcels.catalogue.address_columns import address_fields
from parcels.catalogue.county_names import bare_slug, compact, slug
from parcels.catalogue.openaddresses import SourceLayer
from parcels.catalogue.us_counties import UsCounty, county_named, us_counties
from parcels.catalogue.us_states import STATES
from parcels.errors import RegistryError
from parcels.registry.entry import validate_entry
from parcels.untrusted import sanitize_text

RegistryEntry = dict[str, Any]
_LONGEST_REASON = 1_000

# A layer's own row numbers change when it is loaded again, and no county knows its lots by a
# township, the number of a map, or the angle of a label.
_NO_PARCEL_IDS = re.compile(
    r"(^|\.)(object_?id|fid|oid|id|name|shape.*|global_?id|gdo_gid|ll_uuid|angle|feature|map"
    r"|s_?t_?r)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class DroppedLayer:
    """A layer, or one thing that was said of it, that is not among the entries.

    Attributes:
        source: the file that said it.
        key: of the entry that does without it; empty where the whole layer was dropped.
        what: "layer", or the entry's key that was left out or corrected.
        given: what the source said.
    """

    source: str
    key: str
    what: str
    given: str
    reason: str


def entries_of(
    layers: Iterable[SourceLayer],
) -> tuple[dict[str, RegistryEntry], list[DroppedLayer]]:
    """Registry entries by their keys, in order; and everything that was dropped, with its reason.

    No layer goes missing: each is an entry, or dropped.
    """
    dropped: list[DroppedLayer] = []
    usable: list[SourceLayer] = []
    for layer in layers:
        if layer.problem:
            dropped.append(_whole(layer, layer.problem))
        else:
            usable.append(layer)
    owners = _owners(usable)
    entries: dict[str, RegistryEntry] = {}
    for layer in usable:
        reason = owners.get(layer.source + layer.url)
        if reason is not None:
            dropped.append(_whole(layer, reason))
            continue
        try:
            key, entry, left_out = _entry(layer)
        except (RegistryError, ValueError) as error:  # of a URL like http://[x
            dropped.append(_whole(layer, sanitize_text(error, _LONGEST_REASON)))
            continue
        if key in entries:
            dropped.append(_whole(layer, f"is a second layer of {key}; the first is kept"))
            continue
        entries[key] = entry
        dropped += left_out
    return dict(sorted(entries.items())), dropped


def _whole(layer: SourceLayer, reason: str) -> DroppedLayer:
    return DroppedLayer(layer.source, "", "layer", layer.url, reason)


def _owners(layers: Sequence[SourceLayer]) -> dict[str, str]:
    """Why a layer that several sources claim is not this one's: source and URL -> reason."""
    claims: dict[str, list[SourceLayer]] = defaultdict(list)
    for layer in layers:
        claims[_service_url(layer.url).lower()].append(layer)
    reasons: dict[str, str] = {}
    for rivals in claims.values():
        if len(rivals) == 1:
            continue
        named = [layer for layer in rivals if compact(_stem(layer)) in compact(layer.url)]
        if len(named) != 1:
            sources = ", ".join(layer.source for layer in rivals)
            reason = f"has the URL of several places ({sources}), and nothing says whose it is"
            reasons |= {layer.source + layer.url: reason for layer in rivals}
            continue
        reason = f"has the URL of {named[0].source}, which is named in it"
        reasons |= {layer.source + layer.url: reason for layer in rivals if layer is not named[0]}
    return reasons


def _entry(layer: SourceLayer) -> tuple[str, RegistryEntry, list[DroppedLayer]]:
    """One layer's key and entry, and what was left out of it.

    Raises:
        RegistryError: the layer cannot be an entry.
    """
    if layer.state not in STATES:
        raise RegistryError(f"lies in no state of the US ({layer.state or 'none is said'})")
    place = _place(layer)
    key, name = _called(layer, place)
    left_out: list[DroppedLayer] = []

    def leave_out(what: str, given: str, reason: str) -> None:
        left_out.append(DroppedLayer(layer.source, key, what, given, reason))

    url, number = _url_and_layer(layer.url)
    entry: RegistryEntry = {"name": name, "state": layer.state}
    if place is not None:
        entry["fips"] = place.fips
    if layer.geoid and layer.geoid != entry.get("fips"):
        leave_out("fips", layer.geoid, _wrong_code(layer, place))
    entry |= {"url": url, "layer": number}
    if layer.headers:
        entry["headers"] = dict(layer.headers)
    fields: dict[str, Any] = {}
    if len(layer.parcel_id) == 1 and not _NO_PARCEL_IDS.search(layer.parcel_id[0]):
        fields["parcel_id"] = layer.parcel_id[0]
    elif layer.parcel_id:
        made = "is made of several columns" if len(layer.parcel_id) > 1 else "is no parcel id"
        leave_out("fields.parcel_id", "+".join(layer.parcel_id), made)
    mapped, reasons = address_fields(layer)
    fields |= mapped
    for what, given, reason in reasons:
        leave_out(f"fields.{what}", given, reason)
    if fields:
        entry["fields"] = fields
    validate_entry(key, entry)
    return key, entry, left_out


def _place(layer: SourceLayer) -> UsCounty | None:
    """The county that a layer is of; None for a city's, a state's, or one of several counties.

    A source's file name says whose it is; codes were copied from the next file too often.
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
        # Of two with one name, the code says which.
        return coded if compact(coded.name) == compact(named.name) else named
    if named is not None:
        return named
    return coded if coded is not None and coded.state == state else None


def _in_host(place: UsCounty, url: str) -> bool:
    return compact(place.name) in compact(urlsplit(url).hostname or "")


def _called(layer: SourceLayer, place: UsCounty | None) -> tuple[str, str]:
    """The entry's key, COUNTY-ST, and its name as people write it."""
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
    # Culver City is one already.
    suffix = "" if stem.endswith(f"-{kind}") else f"-{kind}"
    return f"{stem}{suffix}-{state}", f"{kind.title()} of {name}"


def _full_name(layer: SourceLayer, place: UsCounty) -> str:
    """The county's name with what it is; in Alaska the Census's word for it."""
    kinds = r" (City and Borough|Borough|Municipality|Census Area)$"
    said = re.search(kinds, layer.census_name) if place.state == "AK" else None
    return place.full_name + (said[0] if said else "")


def _stem(layer: SourceLayer) -> str:
    return layer.source.rsplit("/", 1)[-1].removesuffix(".json")


def _is_state(layer: SourceLayer) -> bool:
    return bare_slug(_stem(layer)) in ("statewide", "state")


def _is_city(layer: SourceLayer) -> bool:
    coded = us_counties().get(layer.geoid)
    if coded is not None and slug(_stem(layer)) == slug(coded.name):
        return False  # said to be a city's, and has the name and the code of a county
    if layer.kind in ("city", "town", "village") or slug(_stem(layer)).startswith("city-of-"):
        return True
    # A city's code, where the name is no county's.
    return len(layer.geoid) == 7 and county_named(layer.state, _stem(layer)) is None


def _wrong_code(layer: SourceLayer, place: UsCounty | None) -> str:
    if len(layer.geoid) != 5:
        what = {2: "a state", 7: "a city"}.get(len(layer.geoid), "nothing known")
        return f"is the code of {what}, not of a county"
    coded = us_counties().get(layer.geoid)
    of = f"{coded.full_name}, {coded.state}" if coded is not None else "no county"
    if place is None:
        return f"is the code of {of}, and the layer is of {_called(layer, None)[1]}"
    name = _full_name(layer, place)
    return f"is the code of {of}; {name}, {place.state} has {place.fips}, which is used"


def _service_url(url: str) -> str:
    plain = url.partition("?")[0].rstrip("/")
    return re.sub(r"/mapserver\b", "/MapServer", plain, flags=re.IGNORECASE)


def _url_and_layer(url: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*/(?:MapServer|FeatureServer))/(\d{1,12})", _service_url(url))
    if found is None:
        raise RegistryError("is no layer of a MapServer or FeatureServer")
    return found[1], int(found[2])
