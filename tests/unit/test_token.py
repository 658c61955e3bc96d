"""Responses of token servers, partly recorded, and the rules for sending tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from parcels.arcgis.http.responses import TransientError
from parcels.arcgis.http.token import TokenProvider, parse_token_response, token_provider_for
from parcels.errors import AuthenticationRequired, SourceMisconfigured
from parcels.registry.county import TokenEntry

URL = "https://gis.example.gov/arcgis/tokens/generateToken"
RECORDED = Path(__file__).resolve().parents[3] / "shared/data/arcgis/restgdf/error_format_fixtures"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("generate_token_invalid_credentials_error.json",
         r"error 400 \(Unable to generate token\.; Invalid username or password\.\): check"),
        ("generate_token_default_html_response.html", "an HTML page instead of a token"),
    ],
)  # fmt: skip
def test_recorded_refusals_are_authentication_errors(name: str, message: str) -> None:
    file = RECORDED / name
    if not file.exists():
        pytest.skip("recorded responses are not available (../shared/data/arcgis)")
    with pytest.raises(AuthenticationRequired, match=message) as caught:
        parse_token_response(URL, 200, file.read_bytes())
    assert str(caught.value).startswith(f"{URL}: ")
    assert "demo-token" not in str(caught.value)


def test_the_body_decides_how_a_token_response_is_read() -> None:
    assert parse_token_response(URL, 200, b'{"token": "t", "expires": 1}')["token"] == "t"
    with pytest.raises(TransientError):
        parse_token_response(URL, 503, b"<html>busy")


def test_a_token_applies_to_the_registry_entrys_server() -> None:
    url = "https://GIS.example.gov/arcgis/rest/services/P/MapServer"
    tokens = token_provider_for(TokenEntry(env="COUNTY_TOKEN"), url, allow_plain=False)
    assert isinstance(tokens, TokenProvider)
    assert tokens.applies_to(
        "https://gis.example.gov:6443/server/rest/services/P/MapServer/0/query"
    )
    assert not tokens.applies_to("https://gis.example.gov.example.org/P/MapServer")
    assert token_provider_for(None, url, allow_plain=False) is None
    with pytest.raises(SourceMisconfigured, match="'token' needs 'url'"):
        token_provider_for(TokenEntry(env="COUNTY_TOKEN"), None, allow_plain=False)


def test_a_password_goes_over_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIS_USER", "ada")
    monkeypatch.setenv("GIS_PASSWORD", "hunter2")
    plain = TokenEntry(
        url=URL.replace("https", "http"), username_env="GIS_USER", password_env="GIS_PASSWORD"
    )
    tokens = TokenProvider(plain, ["gis.example.gov"])
    with pytest.raises(
        AuthenticationRequired, match="refusing to send a secret over unencrypted http"
    ):
        tokens.token("https://gis.example.gov/x", lambda *_: pytest.fail("a token was requested"))
