"""Whether a registry entry still holds: its servers, its columns, and where its lots lie.

Three or four small calls to a layer. An entry that passed is marked with the day and the extent;
one that failed loses the mark; one whose server did not answer keeps it, for that says nothing.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import urlsplit

from shapely import Point

from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.rate_limit import MonotonicClock, Sleep
from parcels.arcgis.multipoint import PointLookup
from parcels.arcgis.query import LayerQuery
from parcels.catalogue.edit_registry import EntryChanges
from parcels.catalogue.us_counties import box_of, boxes_intersect
from parcels.errors import ParcelsError, QueryRefused, SourceMisconfigured, SourceUnavailable
from parcels.parcel_source import Extent, ParcelRow
from parcels.registry.county import County
from parcels.untrusted import sanitize_text

_LOTS = 5
# A silent layer costs two reads, and an alternate one or two; no other is asked after that. A
# county that does not answer is known for it within a minute, not in three for each of its layers.
_READ_S = 12.0
_TRYING_S = 23.0
_ASKING_S = 35.0
# Counties whose hosts differ are asked at once; a host is asked for one after the other.
_HOSTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What came of asking a county's servers.

    Attributes:
        problem: why its layer cannot be used; None where all is in order.
        for_now: it says nothing of the entry: the server did not answer, or what it sent could
            not be judged.
        extent: (west, south, east, north) in degrees, as the layer says it.
        notes: what is not in order and does no harm yet, such as an alternate that fails.
    """

    county: County
    problem: str | None = None
    for_now: bool = False
    extent: Extent | None = None
    notes: tuple[str, ...] = ()

    @property
    def in_order(self) -> bool:
        """Whether the layer can be used as the entry says."""
        return self.problem is None

    def facts(self, today: date) -> EntryChanges:
        """What the registry file has to say from now on; nothing after an outage."""
        if self.for_now:
            return {}
        if not self.in_order:
            return {"verified": None}
        said = {"verified": today.isoformat()}
        if self.extent is not None:
            said["extent"] = f"[{', '.join(f'{edge:g}' for edge in _outwards(self.extent))}]"
        return said


def verify_all(
    counties: Sequence[County], verify: Callable[[County], VerifyResult] | None = None
) -> Iterator[VerifyResult]:
    """A verdict for each county, as they come: many hosts at once, one county of a host at a time.

    `verify` is `verify_county` if none is given.
    """
    one = verify_county if verify is None else verify
    by_host: dict[str | None, list[County]] = {}
    for county in counties:
        by_host.setdefault(urlsplit(county.url or "").hostname, []).append(county)
    waiting: queue.SimpleQueue[list[County]] = queue.SimpleQueue()
    for group in by_host.values():
        waiting.put(group)
    verdicts: queue.SimpleQueue[VerifyResult] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                group = waiting.get_nowait()
            except queue.Empty:
                return
            for county in group:
                verdicts.put(_guarded(one, county))

    # Daemons: who stops the command need not wait for a server that does not answer.
    for _ in range(min(_HOSTS_AT_ONCE, len(by_host))):
        threading.Thread(target=work, daemon=True).start()
    for _ in counties:
        yield verdicts.get()


def _guarded(verify: Callable[[County], VerifyResult], county: County) -> VerifyResult:
    try:
        return verify(county)
    except Exception as error:  # a server can send anything; the others are asked all the same
        return VerifyResult(
            county,
            f"cannot be judged: {type(error).__name__}: {sanitize_text(error)}",
            for_now=True,
        )


def verify_county(
    county: County, *, sleep: Sleep = time.sleep, clock: MonotonicClock = time.monotonic
) -> VerifyResult:
    """Ask a county's layer, and its alternates while there is time."""
    began_s = clock()
    try:
        client = ArcGISClient.for_county(
            county, sleep=sleep, clock=clock, read_timeout_s=_READ_S, retry_for_s=_TRYING_S
        )
    except ParcelsError as error:
        return VerifyResult(county, str(error))
    first, *others = (
        LayerQuery(layer, county.fields, county.where, client, CircuitBreaker())
        for layer in county.layers
    )
    verdict = _verify_layer(first, county)
    notes = list(verdict.notes)
    for layer in others:
        if clock() - began_s > _ASKING_S:
            notes.append(f"alternate {layer.origin}: not asked, as the others took too long")
            continue
        problem = _verify_layer(layer, county).problem
        if problem is not None:
            notes.append(f"alternate {problem}")
        elif not verdict.in_order:
            notes.append(f"alternate {layer.origin}: in order")
    return replace(verdict, notes=tuple(notes))


def _verify_layer(layer: LayerQuery, county: County) -> VerifyResult:
    try:
        parcel_id = layer.columns.fields.parcel_id
        extent = layer.info.extent
        _check_place(extent, county, layer.origin)
        lot, point = _a_lot(layer)
        _check_place((point.x, point.y, point.x, point.y), county, layer.origin)
        _check_point(layer, lot, point)
    except ParcelsError as error:
        return VerifyResult(county, str(error), for_now=isinstance(error, SourceUnavailable))
    notes = [] if extent is not None else ["the layer does not say where it lies"]
    if parcel_id is None:
        notes.append("no column of parcel ids is known; set fields: {parcel_id: …}")
    elif lot.parcel_id is None:
        notes.append(f"{parcel_id} is empty in the lot that was looked at")
    if not county.fields.has_addresses:
        notes.append("no address columns")
    return VerifyResult(county, extent=extent, notes=tuple(notes))


def _a_lot(layer: LayerQuery) -> tuple[ParcelRow, Point]:
    """One of the first few lots, the smallest, which is not all the streets; and a point on it.

    Raises:
        SourceUnavailable.
        SourceMisconfigured: there are none, or none with a geometry.
    """
    try:
        hits = layer.rows({"resultRecordCount": str(_LOTS)}).rows
    except QueryRefused:
        # A server without pages.
        ids, _ = layer.query_ids_page({})
        hits = layer.rows({"objectIds": ",".join(map(str, ids[:_LOTS]))}).rows if ids else ()
    lots = [(hit, hit.geometry) for hit in hits if hit.geometry is not None]
    if not lots:
        what = "the first lots have no usable geometry" if hits else "the layer is empty"
        raise SourceMisconfigured(
            f"{layer.origin}: {what}; name another layer, or correct 'where' in the registry entry"
        )
    lot, geometry = min(lots, key=lambda lot: lot[1].area)
    return lot, geometry.representative_point()


def _check_point(layer: LayerQuery, lot: ParcelRow, point: Point) -> None:
    """A query at a point on the lot must find it.

    Raises:
        ParcelsError.
    """
    [found] = PointLookup(layer, 1).at_points([point])
    if isinstance(found, ParcelsError):
        raise found
    if lot.object_id not in [hit.object_id for hit in found.hits]:
        raise SourceMisconfigured(
            f"{layer.origin}: a query at longitude {point.x:.6f}, latitude {point.y:.6f} does not "
            f"find the lot that is there ({sanitize_text(lot.parcel_id or lot.object_id)}); name "
            "another layer"
        )


def _check_place(extent: Extent | None, county: County, origin: str) -> None:
    box = box_of(county.state, county.fips)
    if extent is None or box is None or boxes_intersect(extent, box):
        return
    where = county.name if county.state in (None, county.name) else f"{county.name}, {county.state}"
    raise SourceMisconfigured(
        f"{origin}: lies at {_shown(extent)}, and {where} at {_shown(box)} (west, south, east, "
        "north): correct 'url' and 'layer', or 'state' and 'fips', in the registry entry"
    )


def _outwards(extent: Extent) -> Extent:
    """With one to two kilometres of room: what lies beyond is refused, and layers grow."""
    west, south, east, north = extent
    return (
        max(-180.0, math.floor(west * 100 - 1) / 100),
        max(-90.0, math.floor(south * 100 - 1) / 100),
        min(180.0, math.ceil(east * 100 + 1) / 100),
        min(90.0, math.ceil(north * 100 + 1) / 100),
    )


def _shown(extent: Iterable[float]) -> str:
    return ", ".join(f"{edge:.2f}" for edge in extent)
