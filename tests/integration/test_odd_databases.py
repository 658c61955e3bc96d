"""Databases as others have set them up: used as they are, or refused at the start with the cure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import text

from pipeline.errors import StoreError
from pipeline.store.database import Database, open_database, open_existing
from pipeline.store.embedded.postgres import EmbeddedPostgres

NOWHERE = Path("unused")


@pytest.fixture
def server(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection of the server's administrator; what is named `odd` is dropped at the end."""
    conninfo = make_conninfo(dbname="postgres", **postgres.connect_args)
    with psycopg.connect(conninfo, autocommit=True) as conn:
        yield conn
        conn.execute("DROP DATABASE IF EXISTS odd WITH (FORCE)")
        conn.execute("DROP ROLE IF EXISTS odd")


def url_of(postgres: EmbeddedPostgres, database: str, role: str = "lotline") -> str:
    return postgres.url.replace("/lotline?", f"/{database}?").replace("lotline@", f"{role}@")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_is_refused_with_the_command(
    server: psycopg.Connection[tuple[object, ...]], postgres: EmbeddedPostgres, encoding: str
) -> None:
    server.execute(
        f"CREATE DATABASE odd ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    for opening in (open_database, open_existing):
        with (
            pytest.raises(StoreError, match=rf"database odd.*{encoding}.*createdb -E UTF8"),
            opening(url_of(postgres, "odd"), NOWHERE),
        ):
            pass


def test_postgis_in_a_schema_off_the_search_path_is_used(
    server: psycopg.Connection[tuple[object, ...]], postgres: EmbeddedPostgres
) -> None:
    server.execute("CREATE DATABASE odd")
    with psycopg.connect(url_of(postgres, "odd"), autocommit=True) as conn:
        conn.execute('CREATE SCHEMA "Geo Data"')
        conn.execute('CREATE EXTENSION postgis SCHEMA "Geo Data"')
    with open_database(url_of(postgres, "odd"), NOWHERE) as opened:
        insert = (
            "INSERT INTO lotline.property (county, property_id, point) VALUES "
            "('c', 'a', ST_SetSRID(ST_MakePoint(1, 2), 4326)) RETURNING sort_key"
        )
        with opened.engine.begin() as conn:
            assert conn.execute(text(insert)).scalar_one()
    with psycopg.connect(url_of(postgres, "odd"), autocommit=True) as conn:
        row = conn.execute("SELECT boot_val FROM pg_settings WHERE name = 'search_path'")
        assert row.fetchone() == ('"$user", public',), "the database's own path is unchanged"


def test_postgis_in_a_schema_that_the_role_may_not_use_names_it(
    server: psycopg.Connection[tuple[object, ...]], postgres: EmbeddedPostgres
) -> None:
    server.execute("CREATE ROLE odd LOGIN")
    server.execute("CREATE DATABASE odd OWNER odd")
    with psycopg.connect(url_of(postgres, "odd"), autocommit=True) as conn:
        conn.execute("CREATE SCHEMA gis")
        conn.execute("CREATE EXTENSION postgis SCHEMA gis")
    with (
        pytest.raises(StoreError, match=r"schema gis.*GRANT USAGE ON SCHEMA gis TO odd"),
        open_database(url_of(postgres, "odd", role="odd"), NOWHERE),
    ):
        pass


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (
            "ALTER ROLE odd SET default_transaction_read_only = on",
            "read-only.*ALTER ROLE odd RESET default_transaction_read_only",
        ),
        ("ALTER ROLE odd CONNECTION LIMIT 3", "only 3 connections.*ALTER ROLE odd CONNECTION"),
        ("ALTER DATABASE odd CONNECTION LIMIT 3", "only 3 connections.*ALTER DATABASE odd"),
        (
            "REVOKE TEMPORARY ON DATABASE odd FROM public; ALTER DATABASE odd OWNER TO lotline",
            "temporary tables.*GRANT TEMPORARY ON DATABASE odd TO odd",
        ),
    ],
    ids=["read-only", "role-limit", "database-limit", "no-temporary"],
)
def test_what_a_role_may_not_do_is_said_at_the_start(
    server: psycopg.Connection[tuple[object, ...]],
    postgres: EmbeddedPostgres,
    setup: str,
    message: str,
) -> None:
    server.execute("CREATE ROLE odd LOGIN")
    server.execute("CREATE DATABASE odd OWNER odd")
    with psycopg.connect(url_of(postgres, "odd"), autocommit=True) as conn:
        conn.execute("CREATE EXTENSION postgis")
    server.execute(setup)
    with (
        pytest.raises(StoreError, match=message),
        open_database(url_of(postgres, "odd", role="odd"), NOWHERE),
    ):
        pass


def test_tables_of_another_role_are_refused_with_the_grants(
    server: psycopg.Connection[tuple[object, ...]], database: Database, postgres: EmbeddedPostgres
) -> None:
    server.execute("CREATE ROLE odd LOGIN")
    url = url_of(postgres, "test", role="odd")
    for opening in (open_database, open_existing):
        with (
            pytest.raises(StoreError, match="GRANT USAGE ON SCHEMA lotline TO odd"),
            opening(url, NOWHERE),
        ):
            pass
    with database.engine.begin() as conn:
        conn.execute(text("GRANT USAGE ON SCHEMA lotline TO odd"))
        conn.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA lotline TO odd"))
    with open_existing(url, NOWHERE) as opened:
        assert opened is not None, "reading needs no more"
    with (
        pytest.raises(StoreError, match=r"GRANT SELECT, INSERT, UPDATE, DELETE.*TO odd"),
        open_database(url, NOWHERE),
    ):
        pass
    with database.engine.begin() as conn:
        conn.execute(text("REVOKE ALL ON ALL TABLES IN SCHEMA lotline FROM odd"))
        conn.execute(text("REVOKE ALL ON SCHEMA lotline FROM odd"))


def test_settings_of_the_role_do_not_reach_the_session(
    server: psycopg.Connection[tuple[object, ...]], database: Database, postgres: EmbeddedPostgres
) -> None:
    odd = {
        "statement_timeout": "500ms",
        "idle_in_transaction_session_timeout": "1s",
        "DateStyle": "SQL, DMY",
        "IntervalStyle": "sql_standard",
        "TimeZone": "Asia/Kathmandu",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "standard_conforming_strings": "off",
        "default_transaction_isolation": "serializable",
        "search_path": "pg_catalog",
    }
    for name, value in odd.items():
        server.execute(f"ALTER DATABASE test SET {name} = '{value}'")
    query = text(
        "SELECT TIMESTAMPTZ '2026-02-03 04:05:06+00' AS at, DATE '2026-02-03' AS day, "
        "INTERVAL '1 day 02:00' AS span, '\\x00ff'::bytea AS bytes, 0.1::float8 + 0.2 AS number, "
        "'a\\b' AS backslash, current_setting('transaction_isolation') AS isolation, "
        "(SELECT ST_SRID(point) FROM lotline.property) AS srid, pg_sleep(0.7)"
    )
    insert = text(
        "INSERT INTO lotline.property (county, property_id, point) "
        "VALUES ('c', 'a', ST_SetSRID(ST_MakePoint(1, 2), 4326))"
    )
    with open_database(database.url, NOWHERE) as opened, opened.engine.begin() as conn:
        conn.execute(insert)
        row = conn.execute(query).one()
    assert row.at.isoformat() == "2026-02-03T04:05:06+00:00"
    assert row.day.isoformat() == "2026-02-03"
    assert row.span.total_seconds() == 26 * 3600
    assert (row.bytes, row.number, row.backslash) == (b"\x00\xff", 0.1 + 0.2, "a\\b")
    assert (row.isolation, row.srid) == ("read committed", 4326)


def test_a_timeout_in_the_url_is_kept(database: Database) -> None:
    url = f"{database.url}&options=-c%20statement_timeout%3D12345"
    with open_database(url, NOWHERE) as opened, opened.engine.connect() as conn:
        assert conn.execute(text("SHOW statement_timeout")).scalar_one() == "12345ms"


@pytest.mark.parametrize("start", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_every_way_to_write_the_url_works(database: Database, start: str) -> None:
    url = database.url.replace("postgresql://", start)
    with open_database(f"{url}&sslmode=prefer", NOWHERE) as opened:
        with opened.engine.connect() as conn:
            assert conn.execute(text("SELECT 1")).scalar_one() == 1
        assert opened.url.startswith("postgresql://"), "psql reads it"
