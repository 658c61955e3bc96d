"""Checks a database's schema revision and upgrades it to the code's (alembic migrations)."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from pipeline.errors import StoreError
from pipeline.store.tables import SCHEMA

MIGRATIONS = Path(__file__).parent / "migrations"

# Advisory lock key that only Lotline uses: concurrent upgrades of one database are serialized.
_UPGRADE_LOCK = 0x4C4F544C

_RIGHTS = text("""
SELECT quote_ident(current_user) AS role,
    (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = :schema)
        AS may_use,
    coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')), true) AS may_read,
    coalesce(bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')), true)
        AS may_write
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind = 'r' AND c.relname <> 'alembic_version'
""")


def code_revisions() -> list[str]:
    """The revisions that this code knows, oldest first; the migration files start with them."""
    return sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def database_revision(connection: Connection) -> str | None:
    """The revision of a database; None if it has no tables of Lotline."""
    if connection.scalar(text("SELECT to_regclass('lotline.alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM lotline.alembic_version"))
    return found


def check(connection: Connection, *, writes: bool = False) -> bool:
    """Check that the database is at the code's revision; False if it has no tables of Lotline.

    Args:
        writes: whether the caller will write.

    Raises:
        StoreError: the database is older or newer than the code, or the role lacks rights.
    """
    _check_rights(connection, writes=writes)
    found, known = database_revision(connection), code_revisions()
    if found is None:
        return False
    if found not in known:
        raise StoreError(
            f"the database is at revision {found}, but this version of Lotline only knows "
            f"revisions up to {known[-1]}: install the newer Lotline that upgraded the database"
        )
    if found != known[-1]:
        raise StoreError(
            f"the database is at revision {found}, but this version of Lotline needs revision "
            f"{known[-1]}: run `lotline db upgrade`"
        )
    return True


def _check_rights(connection: Connection, *, writes: bool) -> None:
    """StoreError if the tables are another role's, which has not granted what is needed."""
    found = connection.execute(_RIGHTS, {"schema": SCHEMA}).one()
    rights = "SELECT, INSERT, UPDATE, DELETE" if writes else "SELECT"
    if found.may_use is not False and (found.may_write if writes else found.may_read):
        return
    role = found.role
    raise StoreError(
        f"the tables of Lotline in this database belong to another role: use that role in "
        f"DATABASE_URL, or run as that role GRANT USAGE ON SCHEMA {SCHEMA} TO {role}; "
        f"GRANT {rights} ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}"
    )


def upgrade(engine: Engine) -> None:
    """Upgrade the schema to the code's revision in one transaction; does nothing at the head.

    Concurrent calls are safe: an advisory lock serializes them.

    Raises:
        StoreError: the database is newer than the code, lacks PostGIS or refuses a statement.
    """
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            found, known = database_revision(connection), code_revisions()
            if found == known[-1]:
                return
            if found is not None and found not in known:
                check(connection)
            _require_postgis(connection)
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            _run_migrations(connection)
    except DBAPIError as error:
        raise StoreError(
            f"the schema {SCHEMA} could not be created or upgraded: {error.orig}. Grant this role "
            "the right to create schemas in the database, or use another database"
        ) from error


def _run_migrations(connection: Connection) -> None:
    # Imported late: alembic is slow to import, and a database at the head does not need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _require_postgis(connection: Connection) -> None:
    """Create the PostGIS extension if it is missing; StoreError if that is not possible."""
    if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")):
        return
    if not connection.scalar(text("SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'")):
        raise StoreError(
            "PostGIS is not installed on the database server: install it there "
            "(Debian and Ubuntu: apt-get install postgresql-postgis), or use another server"
        )
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS postgis"))
    except DBAPIError as error:
        raise StoreError(
            f"PostGIS is not enabled in the database and could not be created ({error.orig}): ask "
            "its administrator to run CREATE EXTENSION postgis in this database"
        ) from error
