"""Checks at the start that a server, its database and the role can do what Lotline needs.

Otherwise a batch would stop half-way, with an error that names the symptom.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from pipeline.errors import StoreError

_MIN_SERVER_VERSION = 12  # generated columns
_MIN_POSTGIS_VERSION = 3  # geometries sort along a Hilbert curve
# A run's lock, the stages of an engine and the reports; a batch that waits for more would stop.
MIN_CONNECTIONS = 8
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")

_READ = """
SELECT current_database() AS database, current_user AS role,
    pg_encoding_to_char(d.encoding) AS encoding,
    pg_is_in_recovery() AS is_standby,
    current_setting('transaction_read_only') = 'on' AS is_read_only,
    has_database_privilege(d.oid, 'TEMPORARY') AS may_create_temporary,
    d.datconnlimit AS database_limit,
    (SELECT r.rolconnlimit FROM pg_roles r WHERE r.rolname = current_user) AS role_limit,
    CAST(current_setting('max_connections') AS int)
        - CAST(current_setting('superuser_reserved_connections') AS int) AS server_limit,
    e.extversion AS postgis_version, n.nspname AS postgis_schema,
    has_schema_privilege(n.oid, 'USAGE') AS may_use_postgis
FROM pg_database d
LEFT JOIN pg_extension e ON e.extname = 'postgis'
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE d.datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is asked of the server; a limit of -1 is none."""

    database: str
    role: str
    encoding: str
    is_standby: bool
    is_read_only: bool
    may_create_temporary: bool
    database_limit: int
    role_limit: int
    server_limit: int
    postgis_version: str | None
    postgis_schema: str | None
    may_use_postgis: bool | None


def check_server(connection: psycopg.Connection[Any], *, writes: bool) -> None:
    """Check the server, the database and the role.

    Args:
        writes: whether the caller will write; reading also works on a standby.

    Raises:
        StoreError: what is missing, and the statement that provides it.
    """
    version = connection.info.server_version
    if version < _MIN_SERVER_VERSION * 10_000:
        raise StoreError(
            f"the server is PostgreSQL {version / 10_000:.0f}, but Lotline needs "
            f"{_MIN_SERVER_VERSION} or newer: use another server in DATABASE_URL"
        )
    with connection.cursor(row_factory=class_row(_Facts)) as cursor:
        facts = cursor.execute(_READ).fetchone()
    assert facts is not None  # noqa: S101 (one row; for the type checker)
    problem = _database_problem(facts) or (_writing_problem(facts) if writes else None)
    if problem is not None:
        raise StoreError(problem)


def _database_problem(facts: _Facts) -> str | None:
    database, role = _quoted(facts.database), _quoted(facts.role)
    if facts.encoding != "UTF8":
        return (
            f"the database {facts.database} has the encoding {facts.encoding}, but Lotline needs "
            "UTF8, for addresses and names: create another one with `createdb -E UTF8 -T template0 "
            "--locale=C NAME`, and write its name in DATABASE_URL"
        )
    if facts.postgis_version is None or facts.postgis_schema is None:
        return None
    schema = _quoted(facts.postgis_schema)
    if int(facts.postgis_version.partition(".")[0]) < _MIN_POSTGIS_VERSION:
        return (
            f"the database {facts.database} has PostGIS {facts.postgis_version}, but Lotline needs "
            f"{_MIN_POSTGIS_VERSION}.0 or newer: install it on the server, then run ALTER "
            f"EXTENSION postgis UPDATE in {database}"
        )
    if not facts.may_use_postgis:
        return (
            f"PostGIS is in the schema {facts.postgis_schema}, which the role {facts.role} may "
            f"not use: run GRANT USAGE ON SCHEMA {schema} TO {role}"
        )
    return None


def _writing_problem(facts: _Facts) -> str | None:
    database, role = _quoted(facts.database), _quoted(facts.role)
    if facts.is_standby:
        return (
            "the server is a read-only standby: point DATABASE_URL to the primary server (with "
            "several hosts, add ?target_session_attrs=read-write)"
        )
    if facts.is_read_only:
        return (
            f"transactions of the role {facts.role} are read-only: run ALTER ROLE {role} RESET "
            f"default_transaction_read_only (or ALTER DATABASE {database} RESET …), or use "
            "another role in DATABASE_URL"
        )
    if not facts.may_create_temporary:
        return (
            f"the role {facts.role} may not create temporary tables, through which results are "
            f"written: run GRANT TEMPORARY ON DATABASE {database} TO {role}"
        )
    limits = {
        f"ALTER ROLE {role} CONNECTION LIMIT 20": facts.role_limit,
        f"ALTER DATABASE {database} CONNECTION LIMIT 20": facts.database_limit,
        "ALTER SYSTEM SET max_connections = 100, and restart the server": facts.server_limit,
    }
    for cure, limit in limits.items():
        if 0 <= limit < MIN_CONNECTIONS:
            return (
                f"only {limit} connections are allowed, but a batch needs up to "
                f"{MIN_CONNECTIONS}: run {cure}"
            )
    return None


def _quoted(name: str) -> str:
    """An SQL identifier."""
    return name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'
