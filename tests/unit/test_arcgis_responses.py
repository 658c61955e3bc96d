"""ArcGIS responses -> JSON or typed errors, and the circuit breaker, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from faketime import FakeTime

from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.responses import TooManyRequestsError, TransientError, parse_response
from parcels.errors import (
    AuthenticationRequired,
    FirewallRefused,
    LayerNotFound,
    QueryRefused,
    RateLimited,
    SourceMisconfigured,
    SourceUnavailable,
)

URL = "http://127.0.0.1/arcgis/rest/services/P/MapServer"


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (200, {"error": {"code": 500, "message": "Error"}}, TransientError, "error 500"),
        (200, {"error": {"code": 400, "details": ["bad field"]}}, QueryRefused, "bad field"),
        (200, {"error": {"code": 498}}, AuthenticationRequired, "requires a token"),
        (200, {"error": {"code": "499"}}, AuthenticationRequired, "requires a token"),
        (200, {"error": "down"}, TransientError, "down"),
        (200, {"status": "error", "messages": ["no such"], "code": 404}, LayerNotFound, "no"),
        (
            200,
            {"status": "error", "messages": ["Could not access"]},
            TransientError,
            "Could not access",
        ),
        (503, {}, TransientError, "error 503"),
        (429, {}, TooManyRequestsError, "error 429"),
        (404, {}, LayerNotFound, "no such service or layer"),
        (403, {}, AuthenticationRequired, "requires a token"),
        (400, {}, QueryRefused, "rejects the query"),
        (200, [], SourceMisconfigured, "not a JSON object"),
    ],
)
def test_errors_are_classified_by_status_or_body(
    status: int, body: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        parse_response(URL, status, json.dumps(body).encode())
    assert str(caught.value).startswith(URL)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"", TransientError),
        (200, b'{"features": [{"attri', TransientError),
        (200, b"\n<!DOCTYPE html><p>Log in", TransientError),
        (500, b"<html>oops", TransientError),
        (404, b"<html>no such page", LayerNotFound),
        (401, b"<html>401 - Unauthorized", AuthenticationRequired),
        (403, b"<html>403 - Forbidden: Access is denied.", FirewallRefused),
        (200, b"<html><form><input name='p' type='password'></form>", AuthenticationRequired),
        (429, b"<html>Access denied | error 1015 | Cloudflare", TooManyRequestsError),
        (200, b"[" * 100_000, TransientError),
        (200, b"\xef\xbb\xbf<html>Down", TransientError),
    ],
)
def test_non_json_responses_are_classified_by_content(
    status: int, body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        parse_response(URL, status, body)
    assert type(caught.value) is error


@pytest.mark.parametrize("status", [200, 403, 503])
@pytest.mark.parametrize(
    "page",
    [
        "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. "
        "Please consult with your administrator.<br>Your support ID is: 1234</body></html>",
        "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>Reference #18.2d351ab8</BODY>",
        "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>",
        "<title>Attention Required! | Cloudflare</title><h1>Sorry, you have been blocked</h1>",
        '<html><iframe src="/_Incapsula_Resource?CWUDNSAI=9">Request unsuccessful.</iframe></html>',
        "<H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>Request blocked.",
        "error code: 1020",
    ],
)  # fmt: skip
def test_firewall_pages_are_recognised_at_any_status(status: int, page: str) -> None:
    with pytest.raises(FirewallRefused, match="a firewall blocks the call; request access"):
        parse_response(URL, status, page.encode())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 400, "message": "Invalid URL"}, LayerNotFound),
        ({"code": 500, "message": "Service Parcels/MapServer not found"}, LayerNotFound),
        ({"code": 400, "message": "Item does not exist or is inaccessible."}, LayerNotFound),
        ({"code": 500, "message": "Service Parcels/MapServer not started"}, TransientError),
        ({"code": 400, "message": "Pagination is not supported."}, QueryRefused),
        ({"code": 400, "message": "", "details": ["'Invalid field: PARCEL'"]}, QueryRefused),
        ({"code": 403, "message": "You do not have permissions"}, AuthenticationRequired),
        (
            {"code": 429, "message": "Unable to perform query. Too many requests."},
            TooManyRequestsError,
        ),
        ({"code": -2147467259, "message": "Error performing query operation"}, TransientError),
        ({}, TransientError),
    ],
)  # fmt: skip
def test_the_error_body_decides_the_class(error: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        parse_response(URL, 200, json.dumps({"error": error}).encode())
    assert type(caught.value) is kind
    assert str(error.get("message", "")) in str(caught.value)


def test_a_null_error_is_not_an_error() -> None:
    assert parse_response(URL, 200, b'{"error": null, "count": 1}')["count"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": 500}, "features": [], "error": null}',
        b'{"features": [{"attributes": {}}], "features": []}',
    ],
)
def test_duplicate_keys_are_rejected(body: bytes) -> None:
    with pytest.raises(SourceUnavailable, match="garbled"):
        parse_response(URL, 200, body)
    once = {"features": [{"attributes": {"NOTE": "error", "KIND": "features", "WHY": "error"}}]}
    assert parse_response(URL, 200, json.dumps(once).encode()) == once


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse_response(URL, 200, b'\xef\xbb\xbf {"count": 42}') == {"count": 42}


def test_an_empty_result_is_not_an_error() -> None:
    assert parse_response(URL, 200, b'{"features": []}') == {"features": []}


def test_the_circuit_opens_after_three_failures_and_is_half_open_after_a_minute() -> None:
    now_s = 0.0
    breaker = CircuitBreaker(clock=lambda: now_s)
    for _ in range(3):
        breaker.before_call()
        breaker.record_failure(SourceUnavailable("down"))
    with pytest.raises(
        SourceUnavailable, match="circuit open after 3 failures in a row; last error: down"
    ):
        breaker.before_call()
    now_s = 60.0
    breaker.before_call()
    with pytest.raises(SourceUnavailable, match="last error: down"):
        breaker.before_call()  # half-open: one trial call is in flight, others are refused
    breaker.record_failure(LayerNotFound("gone"))
    with pytest.raises(
        LayerNotFound, match="circuit open after 4 failures in a row; last error: gone"
    ):
        breaker.before_call()
    now_s = 120.0
    breaker.before_call()
    breaker.record_success()
    breaker.record_failure(SourceUnavailable("down"))
    breaker.before_call()


def test_a_trial_call_without_an_outcome_does_not_block_the_next_one() -> None:
    time = FakeTime()
    breaker = CircuitBreaker(time.clock)
    for _ in range(3):
        breaker.record_failure(RateLimited("later"))
    for _ in range(2):
        time.sleep(60)
        breaker.before_call()
        with pytest.raises(RateLimited):
            breaker.before_call()


def test_refused_queries_do_not_open_the_circuit() -> None:
    breaker = CircuitBreaker(clock=lambda: 0.0)
    for _ in range(5):
        breaker.record_failure(QueryRefused("error 400"))
        breaker.before_call()
    for _ in range(3):
        breaker.record_failure(SourceMisconfigured("a firewall blocks the call"))
    with pytest.raises(SourceMisconfigured, match="firewall"):
        breaker.before_call()
