"""A failing county server: no row is lost or invented, and calls stay limited."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from faketime import FakeTime
from servers.koop import FeatureServer, feature_server, some_parcels
from servers.scripted import Call, Reply, ScriptedServer, scripted

from parcels import Boundary, County, Lot, NoBoundary, NoLot, ParcelBoundaryService, Property
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.exchange import Exchange, HttpRequest, HttpResponse
from parcels.arcgis.http.responses import TransientError
from parcels.boundary import Unavailable
from parcels.cache import CachedSource, FolderCache, LayerKey
from parcels.errors import (
    AuthenticationRequired,
    FirewallRefused,
    QueryRefused,
    SourceError,
    SourceMisconfigured,
    SourceUnavailable,
)

A_LOT, NO_LOT = 0, -1


@pytest.fixture(scope="module")
def koop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    with feature_server(some_parcels(), tmp_path_factory.mktemp("koop")) as server:
        yield server


@pytest.fixture
def server(koop: FeatureServer) -> FeatureServer:
    koop.mend()
    return koop


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def county(url: object, **more: object) -> County:
    return County.model_validate(
        {"key": "test", "url": url, "layer": 0, "allow_private": True, **more}
    )


def source(url: str, time: FakeTime, **more: object) -> ArcGISSource:
    """The source with fake time."""
    there = county(url, **more)
    client = ArcGISClient.for_county(there, sleep=time.sleep, clock=time.clock, read_timeout_s=60)
    return ArcGISSource(there, client, lambda: CircuitBreaker(time.clock))


def service(url: str, time: FakeTime, **more: object) -> ParcelBoundaryService:
    return ParcelBoundaryService(county(url, **more), source(url, time, **more))


def at(server: FeatureServer, row: int) -> Property:
    """A point in the lot of a row; for a negative row a point without a lot."""
    if row < 0:
        west, _, _, north = (float(edge) for edge in server.parcels.total_bounds)
        return Property("nowhere", west - 0.01, north + 0.01)
    point = server.parcels.geometry.iloc[row].representative_point()
    return Property(f"row-{row}", point.x, point.y)


def questions(calls: list[dict[str, object]]) -> Counter[str]:
    """How often each query was sent."""
    return Counter(f"{call['url']} {json.dumps(call['form'], sort_keys=True)}" for call in calls)


@pytest.mark.parametrize("kind", ["http429", "http500", "http503", "close", "reset", "truncated"])
class TestThreeInTenCallsFail:
    def test_every_lot_is_found_at_its_point(
        self, server: FeatureServer, time: FakeTime, kind: str
    ) -> None:
        parcels_under_test = service(server.url, time)
        server.fail(kind, share=0.3, seed=7, retryAfter="2")
        props = [at(server, row) for row in range(len(server.parcels))]
        for start in range(0, len(props), 50):
            answers = parcels_under_test.look_up_many(props[start : start + 50])
            for row, answer in enumerate(answers, start):
                assert isinstance(answer, Lot)
                assert server.parcels.APN.iloc[row] in answer.boundary.parcel_ids
        asked_for = questions(server.calls)
        assert len(asked_for) >= len(props) / 100
        assert max(asked_for.values()) <= 10
        assert server.most_in_flight <= 2

    def test_concurrent_runs_share_the_limits_of_a_host(
        self, server: FeatureServer, time: FakeTime, kind: str
    ) -> None:
        server.fail(kind, share=0.3, seed=9, retryAfter="2", delayMs=5)
        runs = [service(server.url, time) for _ in range(3)]
        props = [at(server, row) for row in range(100)]
        with ThreadPoolExecutor(len(runs)) as pool:
            found = list(pool.map(lambda run: run.look_up_many(props), runs))
        assert all(isinstance(answer, Lot) for answers in found for answer in answers)
        assert server.most_in_flight == 2

    def test_a_harvest_has_every_row_once(
        self, server: FeatureServer, time: FakeTime, kind: str
    ) -> None:
        parcels_under_test = source(server.url, time)
        server.fail(kind, share=0.3, seed=8, retryAfter="2")
        ids = [parcel.object_id for page in parcels_under_test.harvest() for parcel in page.rows]
        assert sorted(ids) == list(range(1, len(server.parcels) + 1))
        assert max(questions(server.calls).values()) <= 10
        assert server.most_in_flight <= 2


@pytest.fixture
def behind(server: FeatureServer) -> Iterator[Callable[..., ScriptedServer]]:
    """Starts a proxy for Koop that replies to some calls itself."""
    running = []

    def start(fault: Callable[[Call], Reply | None]) -> ScriptedServer:
        def answer(call: Call) -> Reply:
            reply = fault(call)
            if reply is not None:
                return reply
            url = server.address + call.path
            real = requests.request(call.method, url, params=call.query, data=call.form, timeout=30)
            return Reply(real.content, real.status_code)

        running.append(scripted(answer))
        return running[-1].__enter__()

    yield start
    for one in running:
        one.__exit__(None, None, None)


def test_mixed_faults_lose_no_lot_and_retry_after_is_respected(
    server: FeatureServer, time: FakeTime, behind: Callable[..., ScriptedServer]
) -> None:
    chance = random.Random(20260)
    began_s: list[float] = []
    rests: list[tuple[float, float]] = []

    def fault(_: Call) -> Reply | None:
        began_s.append(time.now_s)
        if chance.random() >= 0.3:
            return None
        status = chance.choice([429, 500, 503, 0])
        if status not in (429, 503):
            return Reply(status=status)
        rest_s = chance.choice([1, 5, 30])
        rests.append((time.now_s, time.now_s + rest_s))
        return Reply(status=status, headers={"Retry-After": str(rest_s)})

    before = behind(fault)
    url = server.url.replace(server.address, before.address)
    parcels_under_test = service(url, time, calls_in_flight=1)
    rows = range(0, len(server.parcels), 4)
    for row in rows:
        answer = parcels_under_test.look_up(at(server, row))
        assert isinstance(answer, Lot)
        assert server.parcels.APN.iloc[row] in answer.boundary.parcel_ids
    assert len(began_s) > 1.2 * len(rows)
    assert len(rests) > 10
    for start_s, end_s in rests:
        assert not [moment for moment in began_s if start_s < moment < end_s - 1e-6]
    for first, fifth in zip(began_s, began_s[4:], strict=False):
        assert fifth - first > 1.0
    assert before.most_in_flight == 1


FAULTY_ANSWERS = {
    "error_body": SourceUnavailable,
    "html": SourceUnavailable,
    "truncated": SourceUnavailable,
    "empty_page": SourceUnavailable,
    "token": AuthenticationRequired,
    "firewall": FirewallRefused,
    "refused": QueryRefused,
}


@pytest.mark.parametrize("kind", FAULTY_ANSWERS)
class TestInvalidResponse:
    def test_is_never_reported_as_no_lot(
        self, server: FeatureServer, time: FakeTime, kind: str
    ) -> None:
        parcels_under_test = service(server.url, time)
        parcels_under_test.check()
        server.fail(kind)
        by_id = Property("by id", parcel_id="no such id")
        outage = FAULTY_ANSWERS[kind] is SourceUnavailable
        for prop in (at(server, A_LOT), at(server, NO_LOT), by_id):
            answer = parcels_under_test.look_up(prop)
            assert isinstance(answer, Unavailable)
            assert answer.reason == ("unavailable" if outage else "misconfigured")
            assert server.url in answer.detail

    def test_is_an_error_of_its_class(
        self, server: FeatureServer, time: FakeTime, kind: str
    ) -> None:
        parcels_under_test = source(server.url, time)
        parcels_under_test.check()
        server.fail(kind)
        point = server.parcels.geometry.iloc[0].representative_point()
        for [answer] in (
            parcels_under_test.at_points([point]),
            parcels_under_test.near_points([point], 40.0),
            parcels_under_test.with_ids(["x"]),
        ):
            assert isinstance(answer, FAULTY_ANSWERS[kind])
        with pytest.raises(FAULTY_ANSWERS[kind]):
            list(parcels_under_test.harvest())

    def test_also_in_the_first_call(self, server: FeatureServer, time: FakeTime, kind: str) -> None:
        server.fail(kind)
        with pytest.raises(SourceError):
            source(server.url, time).check()
        answer = service(server.url, time).look_up(at(server, NO_LOT))
        assert isinstance(answer, Unavailable)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{}", b"[]", b"null", b"42", b'"features"', b'{"features": null}',
     b'{"features": {}}', b'{"features": [1]}', b'{"feature": []}', b'{"status": "error"}',
     b'{"status": "error", "messages": ["Could not access any server machines."]}',
     b'{"error": "down"}', b'{"error": {}}', b'{"count": 0}', b"upstream connect error",
     b'{"type": "FeatureCollection"}', b"\x00\x01", b'{"features": [], "error": {"code": 500}}'],
)  # fmt: skip
def test_odd_bodies_are_never_reported_as_no_lot(
    server: FeatureServer,
    time: FakeTime,
    behind: Callable[..., ScriptedServer],
    body: bytes,
) -> None:
    before = behind(lambda call: Reply(body) if call.path.endswith("/query") else None)
    parcels_under_test = service(server.url.replace(server.address, before.address), time)
    for prop in (at(server, A_LOT), at(server, NO_LOT), Property("by id", parcel_id="x")):
        assert isinstance(parcels_under_test.look_up(prop), Unavailable)


class TestDownForTheWholeRun:
    def test_the_circuit_opens_and_lots_are_deferred_or_buffered(
        self, server: FeatureServer, time: FakeTime
    ) -> None:
        parcels_under_test = service(server.url, time)
        parcels_under_test.check()
        server.fail("http500")
        props = [at(server, row) for row in range(min(300, len(server.parcels)))]
        boundaries = []
        for prop in props:  # the worst case: one by one
            boundaries += parcels_under_test.boundaries([prop])
        assert all(isinstance(b, NoBoundary) and b.reason == "unavailable" for b in boundaries)
        # Sixteen attempts until the circuit opens, and three for each minute after that.
        assert len(server.calls) <= 16 + 3 * time.now_s / 60
        [buffer] = parcels_under_test.boundaries(props[:1], when_unavailable="buffer")
        assert isinstance(buffer, Boundary)
        assert (buffer.source, buffer.method) == ("buffer_30m", "unavailable")
        server.mend()
        time.sleep(60)
        assert isinstance(parcels_under_test.look_up(props[0]), Lot)

    @pytest.mark.parametrize(("alternates", "most_s"), [(0, 32), (3, 95)])
    def test_a_server_that_never_responds_is_waited_for_once(
        self, time: FakeTime, monkeypatch: pytest.MonkeyPatch, alternates: int, most_s: float
    ) -> None:
        calls: list[str] = []

        def silent(_: Exchange, request: HttpRequest, read_timeout_s: float) -> HttpResponse:
            calls.append(request.url)
            # The margin keeps a float sum from falling just short of a deadline.
            time.sleep(read_timeout_s + 1e-6)
            raise TransientError(f"{request.url}: no response")

        monkeypatch.setattr(Exchange, "send", silent)
        there: list[dict[str, object]] = [
            {"url": f"https://gis{i}.example.gov/arcgis/rest/services/P/MapServer", "layer": 0}
            for i in (0, 0, 1, 1)
        ]
        layers = county(**there[0], alternates=there[1 : 1 + alternates])
        client = ArcGISClient.for_county(layers, sleep=time.sleep, clock=time.clock)
        parcels = ArcGISSource(layers, client, lambda: CircuitBreaker(time.clock))
        parcels_under_test = ParcelBoundaryService(layers, parcels)
        with pytest.raises(SourceUnavailable, match="no response"):
            parcels_under_test.check()
        assert time.now_s <= most_s
        assert len(calls) <= 2 * (1 + alternates)
        checked, checked_s = len(calls), time.now_s
        for chunk in range(50):
            props = [Property(f"{chunk}-{i}", -90.0, 35.0 + i / 1e4) for i in range(200)]
            found = parcels_under_test.boundaries([*props, Property("by id", parcel_id="7")])
            assert all(isinstance(b, NoBoundary) and b.reason == "unavailable" for b in found)
        assert (len(calls), time.now_s) == (checked, checked_s), "nobody waits for it again"
        time.sleep(60)
        parcels_under_test.look_up(props[0])
        assert len(calls) == checked + 1 + alternates, "one may try, a minute later"

    def test_connection_refused(self, time: FakeTime) -> None:
        parcels_under_test = service("http://127.0.0.1:9/arcgis/rest/services/P/MapServer", time)
        props = [Property(str(i), -90.0, 35.0 + i / 1e4) for i in range(200)]
        boundaries = parcels_under_test.boundaries(props)
        assert all(isinstance(b, NoBoundary) and b.reason == "unavailable" for b in boundaries)

    def test_an_outage_is_never_cached_as_no_lot(
        self, server: FeatureServer, time: FakeTime, tmp_path: Path
    ) -> None:
        def cached() -> ParcelBoundaryService:
            there = county(server.url)
            inner = source(server.url, time)
            kept = CachedSource(inner, FolderCache(tmp_path), LayerKey.of(there))
            return ParcelBoundaryService(there, kept)

        props = [at(server, row) for row in (0, 5, NO_LOT)]
        server.fail("http503", retryAfter="1")
        assert {answer.status for answer in cached().look_up_many(props)} == {"unavailable"}
        server.mend()
        found = cached().look_up_many(props)
        assert [type(answer) for answer in found] == [Lot, Lot, NoLot]
        server.fail("http500")
        again = cached().look_up_many([*props, at(server, 9)])
        assert [answer.status for answer in again] == ["lot", "lot", "none", "unavailable"]

    def test_a_removed_service_opens_the_circuit(
        self, server: FeatureServer, time: FakeTime
    ) -> None:
        parcels_under_test = service(server.url.replace("/all/", "/gone/x/"), time)
        with pytest.raises(SourceMisconfigured, match="no such service or layer"):
            parcels_under_test.check()
        for row in range(20):
            answer = parcels_under_test.look_up(at(server, row))
            assert isinstance(answer, Unavailable)
            assert answer.reason == "misconfigured"
        assert len(server.calls) == 3
