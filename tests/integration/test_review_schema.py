"""The panel against its own OpenAPI document: generated requests, valid and invalid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from servers.panel_client import Client, panel_client

from pipeline.store.database import Database
from pipeline.store.reviews import tokens

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Signing in is limited to a few wrong tokens a minute, which would keep the others out.
_LEFT_OUT = {"/session"}


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def test_no_request_is_a_server_error(client: Client, database: Database) -> None:
    assert min(_cases(client, database, 25).values()) > 0


@pytest.mark.long
def test_no_request_of_many_is_a_server_error(client: Client, database: Database) -> None:
    assert sum(_cases(client, database, 250).values()) > 2_000


def _cases(client: Client, database: Database, examples: int) -> Counter[str]:
    """Send generated requests as an administrator; how many were sent to each operation."""
    with database.engine.begin() as conn:
        _, token = tokens.add_token(conn, "the schema", "admin", None)
    headers = {"Authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_url(f"{client.address}/v1/openapi.json", headers=headers)
    sent: Counter[str] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in _LEFT_OUT:
            continue

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            answer = case.call(headers=headers, timeout=60)
            sent[f"{case.method} {case.path}"] += 1
            assert answer.status_code < 500, (
                f"{case.method} {case.formatted_path}: {answer.status_code} {answer.text[:500]}"
            )
            _check_problem(answer)

        ask()
    return sent


def _check_problem(answer: Any) -> None:
    """A refusal says why, as a problem document (RFC 9457)."""
    if answer.status_code >= 400 and answer.content:
        assert answer.headers["content-type"] == ["application/problem+json"], answer.text[:200]
        assert answer.json()["detail"]
