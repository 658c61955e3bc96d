"""Secrets are masked in text: by pattern, and because they are known."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.open_county import open_county
from pipeline.redaction import (
    Redactor,
    is_secret_name,
    secrets_of_environment,
    secrets_of_url,
)

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)
LONG = st.text(st.characters(blacklist_categories=("Cs",)), min_size=12, max_size=40).filter(
    lambda secret: "*" not in secret
)
PLAIN = st.text("abcdefghijkXYZ0123456789._~-", min_size=8, max_size=40)


@given(secret=LONG, before=TEXT, after=TEXT)
def test_a_known_secret_is_masked_in_every_spelling(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for written in (secret, repr(secret), json.dumps(secret), quote(secret, safe="")):
        assert secret not in redactor.text(f"{before}{written}{after}")
    assert quote(secret, safe="") not in redactor.text(f"{before}{quote(secret, safe='')}{after}")
    text = json.dumps(redactor.mapping({"a": [f"{before}{secret}", {"b": secret}]}))
    assert json.dumps(secret)[1:-1] not in text


@given(secret=PLAIN)
@pytest.mark.parametrize(
    "template",
    [
        "postgresql://ann:{}@db.example/lots",
        "postgresql+psycopg://ann:{}@/lots?host=/run",
        "https://ann:{}@gis.example.gov/arcgis",
        "https://gis.example.gov/query?f=json&token={}&where=1",
        "https://gis.example.gov/query?access_token={}",
        "https://store.example/x?X-Amz-Signature={}&X-Amz-Date=1",
        "host=db password={} user=ann",
        "host=db password='{}' user=ann",
        "Authorization: Bearer {}",
        "{{'Authorization': 'Basic {}'}}",
        "authorization={}",
        "Bearer {}",
        '{{"token": "{}", "expires": 1}}',
        "{{'access_token': '{}'}}",
        "X-Amz-Security-Token: {}",
        "aws_secret_access_key = {}",
        "HF_TOKEN={}",
        "client_secret={}",
    ],
)
def test_a_secret_is_masked_by_pattern(template: str, secret: str) -> None:
    assert secret not in Redactor().text(template.format(secret)).replace(template.format(""), "")


@given(user=PLAIN, password=st.text(min_size=1, max_size=20).filter(lambda p: "*" not in p))
def test_the_password_of_a_database_url_is_masked(user: str, password: str) -> None:
    for written in (password, quote(password, safe="")):
        shown = Redactor().url(f"postgresql://{user}:{written}@db.example:5432/lots")
        assert shown == f"postgresql://{user}:***@db.example:5432/lots"


def test_what_is_not_a_url_is_masked_completely() -> None:
    for text in ("ann:hunter2@db", "hunter2", "host=db password=hunter2"):
        assert Redactor().url(text) == "***"
    assert Redactor().url("postgresql:///lots?password=hunter2&host=/run") == (
        "postgresql:///lots?password=***&host=/run"
    )


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("postgresql://ann:hunter2@db/lots", {"hunter2"}),
        ("postgresql://ann:p%40ss@db/lots", {"p%40ss", "p@ss"}),
        ("postgresql://ann:p@ss@db/lots", {"p", "p@ss"}),
        ("postgresql://ann:p/ss:w@db/lots", {"p/ss:w"}),
        ("postgresql://ann@db/lots?password=hunter2", {"hunter2"}),
        ("postgresql://ann@db:5432/lots", set()),
        ("postgresql:///lots?host=/run/x&user=ann", set()),
        ("my secret", {"my secret"}),
    ],
)
def test_the_passwords_in_a_url_are_found(url: str, secrets: set[str]) -> None:
    assert secrets_of_url(url) == secrets


@pytest.mark.parametrize(
    "text",
    [
        "postgresql:///lotline?host=/run/lotline&user=ann",
        "https://gis.example.gov:6443/arcgis/rest/services/Parcels/MapServer/0",
        "'token' needs 'url'; set 'url' or remove 'token' in the registry entry",
        "the response has no token; correct token: {url: https://x/generateToken} in the entry",
        "refuses the token from the environment variable GIS_TOKEN; replace it, or use a public",
        "check the user name and password in the environment variables that 'token' names",
        "max_tokens=77, tokenizer=clip",
        "12:30:01 ann@example.com",
        "a basic description of the bearer",
    ],
)
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    assert Redactor(["postgres"]).text(text) == text


def test_a_short_secret_is_masked_only_as_a_whole_word() -> None:
    redactor = Redactor(["postgres", "pw"])
    assert redactor.text("FATAL: postgres of postgresql says pw") == (
        "FATAL: *** of postgresql says pw"
    )


def test_the_longer_of_two_secrets_is_masked_first() -> None:
    assert Redactor(["hunter2", "hunter2-and-more"]).text("hunter2-and-more") == "***"


def test_names_that_hold_secrets() -> None:
    for name in ("HF_TOKEN", "GIS_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "apiKey"):
        assert is_secret_name(name)
    for name in ("PWD", "TOKENIZERS_PARALLELISM", "MAX_TOKENS", "PASSWORD_FILE", "KEYBOARD",
                 "token_env", "HF_TOKEN_PATH"):  # fmt: skip
        assert not is_secret_name(name)


def test_variables_with_a_secrets_name_are_secrets() -> None:
    found = secrets_of_environment(
        {"HF_TOKEN": "hf_0123456789", "PWD": "/somewhere", "USE_TOKEN": "true"}
    )
    assert found == {"hf_0123456789"}


def test_stored_settings_have_no_secrets() -> None:
    masked = Redactor(["hunter2hunter2"]).mapping(
        {
            "imagery": {"url": "https://x/ImageServer?token=abc", "bands": ["red", "nir"]},
            "password": "short",
            "note": "hunter2hunter2",
            "limit": None,
            "again": True,
        }
    )
    assert masked == {
        "imagery": {"url": "https://x/ImageServer?token=***", "bands": ["red", "nir"]},
        "password": "***",
        "note": "***",
        "limit": None,
        "again": True,
    }


def test_credentials_of_a_countys_servers_are_masked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GIS_PASS_WORD", "COUNTY_GIS"):
        monkeypatch.setenv(name, f"kh7Zb0qW2x8 of {name}")
    file = tmp_path / "registry.yaml"
    file.write_text(
        """
counties:
  kept: {url: "https://a.example/arcgis/rest/services/P/MapServer", layer: 0,
         token: {env: COUNTY_GIS}}
  made: {url: "https://b.example/arcgis/rest/services/P/MapServer", layer: 0,
         token: {url: "https://b.example/arcgis/tokens/generateToken",
                 username_env: HOME, password_env: GIS_PASS_WORD}}
  free: {url: "https://c.example/arcgis/rest/services/P/MapServer", layer: 0}
"""
    )
    redactor = Redactor()
    monkeypatch.setattr("pipeline.open_county.redactor", redactor)
    for name in ("kept", "made", "free"):
        open_county(name, file, tmp_path)
    assert redactor.known == {"kh7Zb0qW2x8 of COUNTY_GIS", "kh7Zb0qW2x8 of GIS_PASS_WORD"}
