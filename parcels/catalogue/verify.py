"""`lotline registry verify`: whether an entry still works: its servers, columns and location.

Three or four small requests to a layer. An entry that passes gets today's date and the extent;
one that fails loses the date; an outage changes nothing, as it says nothing about the entry.
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
from parcels.errors import (
    ColumnsMissing,
    ParcelsError,
    QueryRefused,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.parcel_source import Extent, ParcelRow
from parcels.registry.county import County
from parcels.registry.us_counties import box_of, boxes_intersect
from parcels.untrusted import sanitize_text

_SAMPLE_LOTS = 5
# Time budgets: an unresponsive layer costs two read timeouts, and no further alternate is tried
# after _COUNTY_S. So a county that is down takes a minute, not three minutes for each layer.
_READ_TIMEOUT_S = 12.0
_RETRY_BUDGET_S = 23.0
_COUNTY_S = 35.0
# Different hosts are checked in parallel, the counties of one host one after the other.
_MAX_PARALLEL_HOSTS = 16


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result of checking a county's servers.

    Attributes:
        problem: why its layer cannot be used; None if it passed.
        inconclusive: nothing is known about the entry: the server was unavailable, or its
            response could not be interpreted.
        extent: (west, south, east, north) in degrees, as reported by the layer.
        notes: problems that do no harm yet, such as an alternate that fails.
    """

    county: County
    problem: str | None = None
    inconclusive: bool = False
    extent: Extent | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the layer can be used with this entry."""
        return self.problem is None

    def registry_changes(self, today: date) -> EntryChanges:
        """The changes to the registry file; none after an outage."""
        if self.inconclusive:
            return {}
        if not self.passed:
            return {"verified": None}
        changes = {"verified": today.isoformat()}
        if self.extent is not None:
            changes["extent"] = f"[{', '.join(f'{edge:g}' for edge in _padded(self.extent))}]"
        return changes


def verify_all(
    counties: Sequence[County], verify: Callable[[County], VerifyResult] | None = None
) -> Iterator[VerifyResult]:
    """A result for each county as it completes: hosts in parallel, one county of a host at a time.

    `verify` checks one county; the default is `verify_county`.
    """
    verify_one = verify_county if verify is None else verify
    by_host: dict[str | None, list[County]] = {}
    for county in counties:
        by_host.setdefault(urlsplit(county.url or "").hostname, []).append(county)
    waiting: queue.SimpleQueue[list[County]] = queue.SimpleQueue()
    for group in by_host.values():
        waiting.put(group)
    results: queue.SimpleQueue[VerifyResult] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                group = waiting.get_nowait()
            except queue.Empty:
                return
            for county in group:
                results.put(_verify_guarded(verify_one, county))

    # Daemon threads: Ctrl-C does not wait for a server that does not respond.
    for _ in range(min(_MAX_PARALLEL_HOSTS, len(by_host))):
        threading.Thread(target=work, daemon=True).start()
    for _ in counties:
        yield results.get()


def _verify_guarded(verify: Callable[[County], VerifyResult], county: County) -> VerifyResult:
    try:
        return verify(county)
    except Exception as error:  # a server can send anything; check the others all the same
        return VerifyResult(
            county,
            f"cannot be checked: {type(error).__name__}: {sanitize_text(error)}",
            inconclusive=True,
        )


def verify_county(
    county: County, *, sleep: Sleep = time.sleep, clock: MonotonicClock = time.monotonic
) -> VerifyResult:
    """Check a county's layer, and its alternates within the time budget."""
    started_s = clock()
    if not county.layers:
        return VerifyResult(county, f"{county.key}: has no 'url', so there is no server to verify")
    try:
        client = ArcGISClient.for_county(
            county,
            sleep=sleep,
            clock=clock,
            read_timeout_s=_READ_TIMEOUT_S,
            retry_for_s=_RETRY_BUDGET_S,
        )
    except ParcelsError as error:
        return VerifyResult(county, str(error))
    first, *alternates = (
        LayerQuery(layer, county.fields, county.where, client, CircuitBreaker())
        for layer in county.layers
    )
    result = _verify_layer(first, county)
    notes = list(result.notes)
    for layer in alternates:
        if clock() - started_s > _COUNTY_S:
            notes.append(f"alternate {layer.origin}: not checked, as the time budget is used up")
            continue
        problem = _verify_layer(layer, county).problem
        if problem is not None:
            notes.append(f"alternate {problem}")
        elif not result.passed:
            notes.append(f"alternate {layer.origin}: ok")
    return replace(result, notes=tuple(notes))


def _verify_layer(layer: LayerQuery, county: County) -> VerifyResult:
    try:
        parcel_id = layer.columns.fields.parcel_id
        extent = layer.info.extent
        _check_location(extent, county, layer.origin)
        lot, point = _sample_lot(layer)
        _check_location((point.x, point.y, point.x, point.y), county, layer.origin)
        _check_point(layer, lot, point)
    except ParcelsError as error:
        passes_later = isinstance(error, SourceUnavailable) and not isinstance(
            error, ColumnsMissing
        )
        return VerifyResult(county, str(error), inconclusive=passes_later)
    notes = [] if extent is not None else ["the layer reports no extent"]
    if parcel_id is None:
        notes.append("no parcel id column is known; set fields: {parcel_id: …}")
    elif lot.parcel_id is None:
        notes.append(f"{parcel_id} is empty in the sample lot")
    if not county.fields.has_addresses:
        notes.append("no address columns")
    return VerifyResult(county, extent=extent, notes=tuple(notes))


def _sample_lot(layer: LayerQuery) -> tuple[ParcelRow, Point]:
    """The smallest of the first few lots, and a point on it; the largest may be the streets.

    Raises:
        SourceUnavailable.
        SourceMisconfigured: there is no lot, or none with a geometry.
    """
    try:
        rows = layer.rows({"resultRecordCount": str(_SAMPLE_LOTS)}).rows
    except QueryRefused:
        # A server without pages.
        ids, _ = layer.query_ids_page({})
        rows = layer.rows({"objectIds": ",".join(map(str, ids[:_SAMPLE_LOTS]))}).rows if ids else ()
    lots = [(hit, hit.geometry) for hit in rows if hit.geometry is not None]
    if not lots:
        what = "the first lots have no valid geometry" if rows else "the layer is empty"
        raise SourceMisconfigured(
            f"{layer.origin}: {what}; use another layer, or correct 'where' in the registry entry"
        )
    lot, geometry = min(lots, key=lambda lot: lot[1].area)
    return lot, geometry.representative_point()


def _check_point(layer: LayerQuery, lot: ParcelRow, point: Point) -> None:
    """Check that a query at a point on the lot finds the lot.

    Raises:
        ParcelsError.
    """
    [found] = PointLookup(layer, 1).at_points([point])
    if isinstance(found, ParcelsError):
        raise found
    if lot.object_id not in [row.object_id for row in found.rows]:
        raise SourceMisconfigured(
            f"{layer.origin}: a query at longitude {point.x:.6f}, latitude {point.y:.6f} does not "
            f"find the lot at that point ({sanitize_text(lot.parcel_id or lot.object_id)}); use "
            "another layer"
        )


def _check_location(extent: Extent | None, county: County, origin: str) -> None:
    box = box_of(county.state, county.fips)
    if extent is None or box is None or boxes_intersect(extent, box):
        return
    where = county.name if county.state in (None, county.name) else f"{county.name}, {county.state}"
    raise SourceMisconfigured(
        f"{origin}: is at {_format(extent)}, but {where} is at {_format(box)} (west, south, east, "
        "north): correct 'url' and 'layer', or 'state' and 'fips', in the registry entry"
    )


def _padded(extent: Extent) -> Extent:
    """Rounded outwards by 1 to 2 km: points outside are rejected, and layers grow."""
    west, south, east, north = extent
    return (
        max(-180.0, math.floor(west * 100 - 1) / 100),
        max(-90.0, math.floor(south * 100 - 1) / 100),
        min(180.0, math.ceil(east * 100 + 1) / 100),
        min(90.0, math.ceil(north * 100 + 1) / 100),
    )


def _format(extent: Iterable[float]) -> str:
    return ", ".join(f"{edge:.2f}" for edge in extent)
