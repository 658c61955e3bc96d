"""What a server that makes tokens says, as real ones said it."""

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
    ("name", "says"),
    [
        ("generate_token_invalid_credentials_error.json",
         r"error 400 \(Unable to generate token\.; Invalid username or password\.\): check"),
        ("generate_token_default_html_response.html", "an HTML page instead of a token"),
    ],
)  # fmt: skip
def test_recorded_refusals_are_authentication_errors(name: str, says: str) -> None:
    file = RECORDED / name
    if not file.exists():
        pytest.skip("recorded answers are not here (../shared/data/arcgis)")
    with pytest.raises(AuthenticationRequired, match=says) as caught:
        parse_token_response(URL, 200, file.read_bytes())
    assert str(caught.value).startswith(f"{URL}: ")
    assert "demo-token" not in str(caught.value)


def test_an_answer_is_read_by_its_content() -> None:
    assert parse_token_response(URL, 200, b'{"token": "t", "expires": 1}')["token"] == "t"
    with pytest.raises(TransientError):
        parse_token_response(URL, 503, b"<html>busy")


def test_a_token_is_for_the_entrys_own_server() -> None:
    url = "https://GIS.example.gov/arcgis/rest/services/P/MapServer"
    sign_in = token_provider_for(TokenEntry(env="COUNTY_TOKEN"), url, allow_plain=False)
    assert isinstance(sign_in, TokenProvider)
    assert sign_in.applies_to(
        "https://gis.example.gov:6443/server/rest/services/P/MapServer/0/query"
    )
    assert not sign_in.applies_to("https://gis.example.gov.example.org/P/MapServer")
    assert token_provider_for(None, url, allow_plain=False) is None
    with pytest.raises(SourceMisconfigured, match="'token' needs 'url'"):
        token_provider_for(TokenEntry(env="COUNTY_TOKEN"), None, allow_plain=False)


def test_a_password_goes_over_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIS_USER", "ada")
    monkeypatch.setenv("GIS_PASSWORD", "hunter2")
    plain = TokenEntry(
        url=URL.replace("https", "http"), username_env="GIS_USER", password_env="GIS_PASSWORD"
    )
    sign_in = TokenProvider(plain, ["gis.example.gov"])
    with pytest.raises(
        AuthenticationRequired, match="refusing to send a secret over unencrypted http"
    ):
        sign_in.token("https://gis.example.gov/x", lambda *_: pytest.fail("it is asked"))
