"""What a host may be asked: a few at once, a few a second, and nothing while it wants rest."""

from __future__ import annotations

import threading

import pytest
from faketime import FakeTime

from parcels.arcgis.http.rate_limit import HostLimiter, host_limiter
from parcels.errors import RateLimited


def host(time: FakeTime, in_flight: int = 2, per_second: float = 4.0) -> HostLimiter:
    made = HostLimiter("gis.example.gov:443", time.clock, time.sleep)
    made.restrict(in_flight, per_second)
    return made


def starts_s(asked: HostLimiter, time: FakeTime, calls: int, took_s: float = 0.0) -> list[float]:
    starts = []
    for _ in range(calls):
        with asked.acquire():
            starts.append(time.now_s)
            time.now_s += took_s
    return starts


@pytest.mark.parametrize("per_second", [4.0, 2.5, 1.0, 0.5, 100.0])
@pytest.mark.parametrize("took_s", [0.0, 0.07, 0.4, 3.0])
def test_never_more_than_the_limit_begin_in_any_second(per_second: float, took_s: float) -> None:
    time = FakeTime()
    starts = starts_s(host(time, per_second=per_second), time, 50, took_s)
    most = max(1, int(per_second))
    window_s = most / per_second
    for first, beyond in zip(starts, starts[most:], strict=False):
        assert beyond - first > window_s
    # And no slower than the limit asks for, but for the margin.
    assert starts[-1] <= max(50 / per_second * 1.06, 50 * took_s)


def test_a_rest_is_not_saved_up() -> None:
    time = FakeTime()
    asked = host(time)
    starts_s(asked, time, 4)
    time.now_s += 3_600
    began = time.now_s
    waits = [start - began for start in starts_s(asked, time, 5)]
    assert waits == pytest.approx([0, 0, 0, 0, 1.05])


def test_the_smallest_limits_of_all_clients_hold() -> None:
    time = FakeTime()
    asked = host(time, in_flight=2, per_second=4)
    asked.restrict(8, 2)
    asked.restrict(1, 100)
    assert starts_s(asked, time, 3) == [0, 0, 1.05]
    entered = threading.Event()

    def second() -> None:
        with asked.acquire():
            entered.set()

    thread = threading.Thread(target=second)
    with asked.acquire():
        thread.start()
        assert not entered.wait(0.05)
    thread.join(10)
    assert entered.is_set()


def test_no_more_than_two_are_in_flight() -> None:
    time = FakeTime()
    asked = host(time, per_second=100)
    inside, most = 0, 0
    lock = threading.Lock()

    def call() -> None:
        nonlocal inside, most
        for _ in range(20):
            with asked.acquire():
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


def test_a_call_that_fails_gives_its_place_back() -> None:
    time = FakeTime()
    asked = host(time, in_flight=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), asked.acquire():
            _ = 1 / 0


def test_a_hold_is_for_every_call() -> None:
    time = FakeTime()
    asked = host(time)
    asked.pause(7)
    asked.pause(3)  # said to another call: the longer one holds
    assert starts_s(asked, time, 2) == [7, 7]


def test_a_hold_that_comes_while_a_call_waits_holds_it_too() -> None:
    time = FakeTime()
    asked = HostLimiter("h:80", time.clock, lambda wait_s: (time.sleep(wait_s), hold_again())[0])
    held = []

    def hold_again() -> None:
        if not held:
            held.append(True)
            asked.pause(5)

    asked.pause(2)
    assert starts_s(asked, time, 1) == [7]


def test_a_long_hold_fails_at_once_and_says_until_when() -> None:
    time = FakeTime()
    asked = host(time)
    with pytest.raises(RateLimited, match=r"rate limited \(Retry-After\) until 2\d{3}-\d\d-\d\d "):
        asked.pause(3_600)
    for _ in range(2):
        with (
            pytest.raises(RateLimited, match=r"\(3,600 s left\); run again after that"),
            asked.acquire(),
        ):
            pytest.fail("it is asked all the same")
    assert time.waits_s == []
    time.now_s += 3_590
    assert starts_s(asked, time, 1) == [3_600]


def test_all_clients_of_a_process_share_a_host() -> None:
    time = FakeTime()

    def found(url: str) -> HostLimiter:
        return host_limiter(url, time.clock, time.sleep)

    one = found("https://gis.example.gov/arcgis/rest/services/A/MapServer")
    assert one is found("https://GIS.example.gov.:443/server/rest/services/B/FeatureServer/0/query")
    assert one is not found("https://gis.example.gov:6443/arcgis")
    assert one is not found("http://gis.example.gov/arcgis")
    other = FakeTime()
    assert one is not host_limiter("https://gis.example.gov/x", other.clock, other.sleep)


def test_a_sleep_that_does_not_sleep_ends_all_the_same() -> None:
    asked = HostLimiter("h:80", lambda: 0.0, lambda _: None)
    asked.restrict(1, 1)
    asked.pause(50)
    for _ in range(20):
        with asked.acquire():
            pass
