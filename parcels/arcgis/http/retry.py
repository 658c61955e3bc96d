"""Retry of transient errors, with exponential backoff and jitter.

This is the place to change what the client does when a server responds HTTP 503 (or 500, 502,
504, 408, 429), times out, drops the connection or sends half a response:

what is retried   only `TransientError`; `responses` and `exchange` decide what is transient
how often         `_MAX_ATTEMPTS` and the constants beside it, and `RetryLimits.retry_for_s`
how long to wait  `_BACKOFF_S`: exponential backoff with full jitter
Retry-After       `parse_retry_after_s`; `rate_limit` then pauses all calls to the host

A service that keeps failing after its retries opens its `circuit_breaker`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from parcels.arcgis.http.rate_limit import HostLimiter, MonotonicClock, Sleep
from parcels.arcgis.http.responses import DnsLookupError, TransientError
from parcels.errors import SourceError

# If 3 of 10 attempts fail, 10 attempts lose one call in 170,000.
_MAX_ATTEMPTS = 10
# While the host is degraded: the last call to it used up all its attempts.
_MAX_ATTEMPTS_DEGRADED = 3
# A failed DNS lookup is a hiccup of the resolver, or this machine is offline.
_MAX_ATTEMPTS_DNS = 3
# Backoff: before retry n a random wait (full jitter) of 0 to min(5, 0.5 * 2**(n - 1)) seconds.
_BACKOFF_S = wait_random_exponential(multiplier=0.5, max=5)
_MAX_RETRY_AFTER_S = 1e7

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """The time limits of a call.

    Attributes:
        read_timeout_s: how long the server may send nothing.
        retry_for_s: no retry starts later than this after the call began.
    """

    read_timeout_s: float
    retry_for_s: float


def call_with_retry(
    call: Callable[[], T],
    limiter: HostLimiter,
    limits: RetryLimits,
    *,
    clock: MonotonicClock,
    sleep: Sleep,
) -> T:
    """Make a call; retry it with backoff while it raises `TransientError`.

    A degraded host gets fewer attempts, within one read timeout, until a call succeeds: its
    silence is waited for once.

    Raises:
        TransientError: the last attempt's error.
        SourceError: any other error, at once.
    """
    max_attempts, retry_for_s = _MAX_ATTEMPTS, limits.retry_for_s
    if limiter.degraded:
        max_attempts = _MAX_ATTEMPTS_DEGRADED
        retry_for_s = min(limits.read_timeout_s, retry_for_s)
    began_s = clock()

    def should_stop(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        is_dns = isinstance(error, DnsLookupError)
        allowed = min(max_attempts, _MAX_ATTEMPTS_DNS) if is_dns else max_attempts
        return state.attempt_number >= allowed or clock() - began_s >= retry_for_s

    retrying = Retrying(
        stop=should_stop,
        wait=_BACKOFF_S,
        retry=retry_if_exception_type(TransientError),
        sleep=sleep,
        reraise=True,
    )
    try:
        result: T = retrying(call)
    except SourceError as error:
        limiter.degraded = isinstance(error, TransientError)
        raise
    limiter.degraded = False
    return result


def parse_retry_after_s(header: str | None) -> float:
    """The seconds of a Retry-After header, which is a number or a date; 0 without a valid one."""
    if header is None:
        return 0.0
    try:
        return min(max(0.0, float(header)), _MAX_RETRY_AFTER_S)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        wait_s = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, wait_s), _MAX_RETRY_AFTER_S)
