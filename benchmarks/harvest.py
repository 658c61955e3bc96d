"""Harvest a layer of 20,000 lots while 5 % of the calls fail: which tools get every row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.results import Result, save
from benchmarks.served_lots import LOTS, POLITE, UNLIMITED, WHAT, county, served
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient

if TYPE_CHECKING:
    from servers.koop import FeatureServer

SEEDS = range(1, 11)
SHARE = 0.05
# esridump pauses 10 s at every fifth call; ten such harvests take a quarter of an hour.
ESRIDUMP_PAUSE_S = 10.0


@dataclass(frozen=True)
class Harvest:
    """The outcome of a harvest: ids, seconds, and the error that ended it."""

    ids: list[str]
    seconds: float
    error: str | None = None

    @property
    def is_complete(self) -> bool:
        """Every lot, without duplicates."""
        return self.error is None and len(self.ids) == len(set(self.ids)) == LOTS


Fetch = Callable[["FeatureServer"], Harvest]


def ours(calls_per_second: float) -> Fetch:
    def fetch(server: FeatureServer) -> Harvest:
        entry = county(server, calls_per_second)

        def pause(wait_s: float) -> None:  # a separate `sleep`, so that no limit is shared
            time.sleep(wait_s)

        started = time.perf_counter()
        source = ArcGISSource(entry, ArcGISClient.for_county(entry, sleep=pause))
        ids = [str(parcel.parcel_id) for page in source.harvest() for parcel in page.rows]
        return Harvest(ids, time.perf_counter() - started)

    return fetch


def peer(name: str, pause_s: float = 0.0) -> Fetch:
    def fetch(server: FeatureServer) -> Harvest:
        given = {"peer": name, "url": f"{server.url}/0", "pause_s": pause_s}
        return Harvest(**peers.ask("peers_harvest.py", given))

    return fetch


TOOLS: dict[str, Fetch] = {
    "Lotline, 4 requests/s": ours(POLITE),
    "Lotline, no rate limit": ours(UNLIMITED),
    f"pyogrio {peers.version('pyogrio')}": peer("pyogrio"),
    f"esridump {peers.version('esridump')}, without its pauses": peer("esridump"),
    f"restgdf {peers.version('restgdf')}, `get_gdf`": peer("restgdf"),
    f"restgdf {peers.version('restgdf')}, `stream_rows`, split": peer("restgdf_split"),
}


def run() -> None:
    peers.interpreter()
    with served() as server:
        rows = [_row(name, fetch, server) for name, fetch in TOOLS.items()]
        server.mend()
        paused = peer("esridump", ESRIDUMP_PAUSE_S)(server)
    save(
        Result(
            name="harvest",
            order=46,
            title="Fetching a layer of 20,000 lots while 5 % of the requests fail",
            command="python -m benchmarks harvest",
            columns=["tool", "complete fetches", "s", "requests", "in flight", "errors"],
            rows=rows,
            notes=[
                f"{WHAT} {SHARE:.0%} of the requests, chosen by a seed, fail with HTTP 500; "
                f"{len(SEEDS)} seeds. Complete means no error, every lot, and no duplicates. "
                "Seconds and requests are medians of the complete fetches (of all, if none "
                "is complete); in flight is the maximum of concurrent requests at the "
                f"server. With its own pauses, esridump takes {paused.seconds:.0f} s without "
                "failures.",
            ],
        )
    )


def _row(name: str, fetch: Fetch, server: FeatureServer) -> list[str]:
    harvests: list[Harvest] = []
    requests: list[int] = []
    most_in_flight = 0
    for seed in SEEDS:
        server.fail("http500", share=SHARE, seed=seed)
        harvests.append(fetch(server))
        requests.append(len(server.calls))
        most_in_flight = max(most_in_flight, server.most_in_flight)
    complete = [i for i, harvest in enumerate(harvests) if harvest.is_complete]
    shown = complete or range(len(harvests))
    errors = {harvest.error for harvest in harvests if harvest.error}
    incomplete = sum(harvest.error is None and not harvest.is_complete for harvest in harvests)
    faults = sorted({_kind(error) for error in errors}) + [f"{incomplete} short"] * (incomplete > 0)
    return [
        name,
        f"{len(complete)} of {len(harvests)}",
        f"{statistics.median(harvests[i].seconds for i in shown):.1f}",
        f"{statistics.median(requests[i] for i in shown):.0f}",
        str(most_in_flight),
        "; ".join(faults),
    ]


def _kind(error: str) -> str:
    return f"`{error.split(':', 1)[0].rsplit('.', 1)[-1]}`"
