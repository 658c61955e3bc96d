"""The database, the counties' servers, and S3. All are asked; nothing is changed."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from parcels.errors import ParcelsError, SourceUnavailable
from parcels.untrusted import sanitize_text
from pipeline.doctor.checks import CheckLevel, CheckRow
from pipeline.errors import PipelineError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from parcels import County

# Of all servers together; `lotline registry verify` waits longer.
_SERVER_S = 15.0
_MAX_SERVERS_AT_ONCE = 16


def database_rows(settings: Settings) -> list[CheckRow]:
    """Whether the database is reachable, its PostGIS, and its schema's revision."""
    from sqlalchemy import text

    from pipeline.store.database import open_existing
    from pipeline.store.embedded.paths import has_cluster
    from pipeline.store.schema import code_revisions, database_revision

    where = "DATABASE_URL" if settings.database_url else "embedded"
    if settings.database_url is None and not has_cluster(settings.home / "postgres"):
        return [_not_created_yet(settings.home)]
    try:
        with open_existing(settings.database_url, settings.home) as database:
            if database is None:
                found = f"{where}: reachable, without tables; the first batch creates them"
                return [CheckRow("database", "ok", found)]
            with database.engine.connect() as connection:
                server = connection.scalar(text("SHOW server_version"))
                postgis = connection.scalar(
                    text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
                )
                revision = database_revision(connection)
    except PipelineError as error:
        return [_database_problem(str(error), embedded=settings.database_url is None)]
    if postgis is None:
        return [CheckRow("database", "problem", f"{where}: PostgreSQL {server} without PostGIS",
                         "CREATE EXTENSION postgis")]  # fmt: skip
    found = (
        f"{where}: PostgreSQL {server}, PostGIS {postgis}, schema at revision {revision} "
        f"(this version's: {code_revisions()[-1]})"
    )
    return [CheckRow("database", "ok", found)]


def _not_created_yet(home: Path) -> CheckRow:
    from pipeline.store.embedded.programs import find_programs, server_user

    try:
        server_user(home / "postgres" / "data")
        programs = find_programs()
    except PipelineError as error:
        return _database_problem(str(error), embedded=True)
    found = f"embedded: not created yet; the first batch does, with PostgreSQL {programs.major}"
    return CheckRow("database", "ok", found)


def _database_problem(message: str, *, embedded: bool) -> CheckRow:
    cure = "lotline config shows where DATABASE_URL is set; unset it for the embedded database"
    if embedded:
        cure = "sudo apt-get install postgresql-postgis, or set DATABASE_URL"
    if "lotline db upgrade" in message:
        cure = "lotline db upgrade"
    return CheckRow("database", "problem", sanitize_text(message, 600), cure)


def county_rows(
    names: Sequence[str], registry: Path | None, *, offline: bool, limit_s: float = _SERVER_S
) -> list[CheckRow]:
    """Whether the registry can be read, and whether each county's server answers.

    Args:
        names: counties to ask; by default those of the registry file that have a server.
        offline: ask none.
    """
    from parcels import load_registry

    try:
        known = load_registry(registry)
        counties = [known.county(name) for name in names] if names else list(known.values())
    except ParcelsError as error:
        cure = "Correct the registry file as the message says"
        return [CheckRow("registry", "problem", sanitize_text(error, 600), cure)]
    rows = [CheckRow("registry", "ok", f"{known.path}: {len(known)} counties, and "
                     f"{len(known.shipped_keys()):,} shipped US layers")]  # fmt: skip
    served = [county for county in counties if county.layers]
    if offline:
        return rows
    rows += _answers(served, limit_s, asked=bool(names))
    if names:
        rows += [
            CheckRow(f"county {county.key}", "ok", "has no server: its parcels are a file")
            for county in counties
            if not county.layers
        ]
    return rows


def _answers(counties: Sequence[County], limit_s: float, *, asked: bool) -> list[CheckRow]:
    """A row for each county, asked side by side; the limit is for all."""
    waiting: queue.SimpleQueue[County] = queue.SimpleQueue()
    for county in counties:
        waiting.put(county)
    found: dict[str, CheckRow] = {}
    done: queue.SimpleQueue[CheckRow] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                county = waiting.get_nowait()
            except queue.Empty:
                return
            done.put(_answer(county, limit_s, asked=asked))

    for _ in range(min(_MAX_SERVERS_AT_ONCE, len(counties))):
        threading.Thread(target=work, daemon=True).start()
    until_s = time.monotonic() + limit_s
    while len(found) < len(counties):
        try:
            row = done.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            break
        found[row.check] = row
    late = [_late(county, limit_s, asked=asked) for county in counties]
    return [found.get(row.check, row) for row in late]


def _late(county: County, limit_s: float, *, asked: bool) -> CheckRow:
    return CheckRow(
        f"county {county.key}", "problem" if asked else "warning",
        f"{county.url}/{county.layer} did not answer within {limit_s:g} s", _verify(county),
    )  # fmt: skip


def _answer(county: County, limit_s: float, *, asked: bool) -> CheckRow:
    from parcels.arcgis.http.circuit_breaker import CircuitBreaker
    from parcels.arcgis.http.client import ArcGISClient
    from parcels.arcgis.query import LayerQuery

    started_s = time.monotonic()
    check = f"county {county.key}"
    level: CheckLevel = "problem" if asked else "warning"
    try:
        client = ArcGISClient.for_county(
            county, read_timeout_s=limit_s / 2, retry_for_s=limit_s / 2
        )
        layer = LayerQuery(county.layers[0], county.fields, county.where, client, CircuitBreaker())
        name = layer.info.name
    except SourceUnavailable as error:
        return CheckRow(check, level, f"unavailable: {sanitize_text(error, 300)}", _verify(county))
    except ParcelsError as error:
        cure = f"Correct the registry entry, then: {_verify(county)}"
        return CheckRow(check, level, sanitize_text(error, 300), cure)
    except Exception as error:  # a server can send anything
        text = f"{type(error).__name__}: {sanitize_text(error, 300)}"
        return CheckRow(check, level, text, _verify(county))
    took_s = time.monotonic() - started_s
    return CheckRow(check, "ok", f"{layer.origin} ({sanitize_text(name, 60)}) answers in "
                    f"{took_s:.1f} s")  # fmt: skip


def _verify(county: County) -> str:
    return f"lotline registry verify {county.key}"


def s3_rows(*, offline: bool) -> list[CheckRow]:
    """Whether the standard chain has credentials; no bucket is asked, and no secret is shown."""
    if find_spec("boto3") is None or find_spec("obstore") is None:
        return []  # the extra's row says so
    import boto3
    import botocore.session
    from botocore.exceptions import BotoCoreError

    cure = "aws configure, or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
    try:
        chain = botocore.session.get_session()
        if offline:
            for asked_by_network in ("container-role", "iam-role"):
                chain.get_component("credential_provider").remove(asked_by_network)
        session = boto3.Session(botocore_session=chain)
        credentials = session.get_credentials()
    except BotoCoreError as error:
        return [CheckRow("s3", "warning", sanitize_text(error, 300), cure)]
    if credentials is None:
        found = "no credentials; s3:// addresses cannot be used"
        return [CheckRow("s3", "warning", found, cure)]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = session.region_name or "no region"
    found = f"credentials from {credentials.method}, {region}, {endpoint or 'Amazon S3'}"
    return [CheckRow("s3", "ok", found)]
