"""Limits of a host: calls in flight, calls per second, and the pause of a Retry-After."""

from __future__ import annotations

import threading

import pytest
from faketime import FakeTime

from parcels.arcgis.http.rate_limit import HostLimiter, host_limiter
from parcels.errors import RateLimited


def limiter_with(time: FakeTime, in_flight: int = 2, per_second: float = 4.0) -> HostLimiter:
    made = HostLimiter("gis.example.gov:443", time.clock, time.sleep)
    made.restrict(in_flight, per_second)
    return made


def starts_s(
    limiter: HostLimiter, time: FakeTime, calls: int, duration_s: float = 0.0
) -> list[float]:
    starts = []
    for _ in range(calls):
        with limiter.acquire():
            starts.append(time.now_s)
            time.now_s += duration_s
    return starts


@pytest.mark.parametrize("per_second", [4.0, 2.5, 1.0, 0.5, 100.0])
@pytest.mark.parametrize("duration_s", [0.0, 0.07, 0.4, 3.0])
def test_calls_per_second_is_a_sliding_window(per_second: float, duration_s: float) -> None:
    time = FakeTime()
    starts = starts_s(limiter_with(time, per_second=per_second), time, 50, duration_s)
    most = max(1, int(per_second))
    window_s = most / per_second
    for first, beyond in zip(starts, starts[most:], strict=False):
        assert beyond - first > window_s
    # And not slower than the limit, except for the margin.
    assert starts[-1] <= max(50 / per_second * 1.06, 50 * duration_s)


def test_idle_time_does_not_allow_a_larger_burst() -> None:
    time = FakeTime()
    limiter = limiter_with(time)
    starts_s(limiter, time, 4)
    time.now_s += 3_600
    began = time.now_s
    waits = [start - began for start in starts_s(limiter, time, 5)]
    assert waits == pytest.approx([0, 0, 0, 0, 1.05])


def test_the_strictest_limits_of_all_clients_apply() -> None:
    time = FakeTime()
    limiter = limiter_with(time, in_flight=2, per_second=4)
    limiter.restrict(8, 2)
    limiter.restrict(1, 100)
    assert starts_s(limiter, time, 3) == [0, 0, 1.05]
    entered = threading.Event()

    def second() -> None:
        with limiter.acquire():
            entered.set()

    thread = threading.Thread(target=second)
    with limiter.acquire():
        thread.start()
        assert not entered.wait(0.05)
    thread.join(10)
    assert entered.is_set()


def test_at_most_two_calls_are_in_flight() -> None:
    time = FakeTime()
    limiter = limiter_with(time, per_second=100)
    inside, most = 0, 0
    lock = threading.Lock()

    def call() -> None:
        nonlocal inside, most
        for _ in range(20):
            with limiter.acquire():
                with lock:
                    inside += 1
                    most = max(most, inside)
                threading.Event().wait(0.001)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_a_failed_call_releases_its_slot() -> None:
    time = FakeTime()
    limiter = limiter_with(time, in_flight=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.acquire():
            _ = 1 / 0


def test_a_pause_applies_to_every_call() -> None:
    time = FakeTime()
    limiter = limiter_with(time)
    limiter.pause(7)
    limiter.pause(3)  # from another call: the longer pause wins
    assert starts_s(limiter, time, 2) == [7, 7]


def test_a_pause_applies_to_calls_that_already_wait() -> None:
    time = FakeTime()
    limiter = HostLimiter("h:80", time.clock, lambda wait_s: (time.sleep(wait_s), pause_again())[0])
    paused = []

    def pause_again() -> None:
        if not paused:
            paused.append(True)
            limiter.pause(5)

    limiter.pause(2)
    assert starts_s(limiter, time, 1) == [7]


def test_a_long_pause_fails_at_once_and_reports_its_end() -> None:
    time = FakeTime()
    limiter = limiter_with(time)
    with pytest.raises(RateLimited, match=r"rate limited \(Retry-After\) until 2\d{3}-\d\d-\d\d "):
        limiter.pause(3_600)
    for _ in range(2):
        with (
            pytest.raises(RateLimited, match=r"\(3,600 s left\); run again after that"),
            limiter.acquire(),
        ):
            pytest.fail("the call started")
    assert time.waits_s == []
    time.now_s += 3_590
    assert starts_s(limiter, time, 1) == [3_600]


def test_all_clients_of_a_process_share_a_limiter() -> None:
    time = FakeTime()

    def limiter_of(url: str) -> HostLimiter:
        return host_limiter(url, time.clock, time.sleep)

    one = limiter_of("https://gis.example.gov/arcgis/rest/services/A/MapServer")
    assert one is limiter_of(
        "https://GIS.example.gov.:443/server/rest/services/B/FeatureServer/0/query"
    )
    assert one is not limiter_of("https://gis.example.gov:6443/arcgis")
    assert one is not limiter_of("http://gis.example.gov/arcgis")
    other = FakeTime()
    assert one is not host_limiter("https://gis.example.gov/x", other.clock, other.sleep)


def test_a_sleep_that_returns_at_once_does_not_loop() -> None:
    limiter = HostLimiter("h:80", lambda: 0.0, lambda _: None)
    limiter.restrict(1, 1)
    limiter.pause(50)
    for _ in range(20):
        with limiter.acquire():
            pass
