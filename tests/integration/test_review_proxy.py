"""The panel behind a proxy: who is the sender, and whether the connection is encrypted."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from pipeline.review.server import _listen
from pipeline.store.database import Database
from pipeline.store.reviews import tokens

LOTLINE = str(Path(sys.executable).with_name("lotline"))


@pytest.fixture
def environment(database: Database, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": database.url, "LOTLINE_HOME": str(tmp_path)}


@contextmanager
def _serving(environment: dict[str, str], folder: Path, *words: str) -> Iterator[str]:
    with subprocess.Popen(
        [LOTLINE, "review", "--port", "0", *words],
        env=environment, cwd=folder, stdout=subprocess.PIPE, text=True,
    ) as serving:  # fmt: skip
        try:
            assert serving.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", serving.stdout.readline())
            assert address is not None
            yield address[0]
        finally:
            serving.terminate()


@pytest.mark.parametrize(
    "header",
    [{"X-Forwarded-For": "203.0.113.7"}, {"Forwarded": "for=203.0.113.7"}, {"Via": "1.1 proxy"}],
    ids=lambda header: next(iter(header)),
)
def test_who_comes_through_a_proxy_is_not_the_user_of_this_machine(
    environment: dict[str, str], tmp_path: Path, header: dict[str, str]
) -> None:
    with _serving(environment, tmp_path) as address:
        direct = requests.get(f"{address}/session", timeout=30).json()
        assert direct["role"] == "admin"
        through = requests.get(f"{address}/session", headers=header, timeout=30).json()
        assert through["role"] is None
        refused = requests.get(f"{address}/v1/review/counties", headers=header, timeout=30)
        assert refused.status_code == 401


def test_another_name_needs_a_token(environment: dict[str, str], tmp_path: Path) -> None:
    refused = subprocess.run(
        [LOTLINE, "review", "--port", "0", "--allow-host", "review.example.com"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "review.example.com" in refused.stderr
    assert "lotline review token add" in refused.stderr


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "unknown"])
def test_the_cookie_is_secure_where_a_trusted_proxy_says_https(
    environment: dict[str, str], database: Database, tmp_path: Path, is_trusted: bool
) -> None:
    with database.engine.begin() as conn:
        _, token = tokens.add_token(conn, "ann", "reviewer", None)
    words = ("--trusted-proxy", "127.0.0.1") if is_trusted else ()
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    with (
        _serving(environment, tmp_path, "--allow-host", "review.example.com", *words) as address,
        requests.Session() as session,
    ):
        session.headers.update({**forwarded, "Host": "review.example.com"})
        csrf = session.get(f"{address}/session", timeout=30).json()["csrf"]
        answer = session.post(
            f"{address}/session", json={"token": token}, headers={"X-CSRF-Token": csrf}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        assert ("; secure" in answer.headers["set-cookie"].lower()) == is_trusted
        bearer = {"Authorization": f"Bearer {token}"}
        links = session.get(f"{address}/v1/", headers=bearer, timeout=30).json()["links"]
        scheme = "https" if is_trusted else "http"
        assert {link["href"].split(":")[0] for link in links} == {scheme}


def test_wrong_tokens_are_counted_for_each_sender_behind_a_trusted_proxy(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    with database.engine.begin() as conn:
        tokens.add_token(conn, "ann", "reviewer", None)

    def sign_in(address: str, sender: str) -> int:
        with requests.Session() as session:
            session.headers["X-Forwarded-For"] = sender
            csrf = session.get(f"{address}/session", timeout=30).json()["csrf"]
            session.headers["X-CSRF-Token"] = csrf
            return session.post(
                f"{address}/session", json={"token": "wrong"}, timeout=30
            ).status_code

    with _serving(environment, tmp_path, "--trusted-proxy", "127.0.0.1") as address:
        tried = [sign_in(address, "203.0.113.7") for _ in range(30)]
        assert 429 in tried
        assert sign_in(address, "203.0.113.8") == 401


def test_responses_do_not_wait_for_acknowledgements() -> None:
    """Asyncio sets TCP_NODELAY only on sockets whose protocol is named."""
    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
