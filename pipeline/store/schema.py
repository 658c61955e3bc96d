"""Which version of the schema a database has, and bringing it up to the code's."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from pipeline.errors import StoreError
from pipeline.store.tables import SCHEMA

MIGRATIONS = Path(__file__).parent / "migrations"

# Any number that only Lotline uses: two upgrades of one database go one after the other.
_UPGRADE_LOCK = 0x4C4F544C


def code_revisions() -> list[str]:
    """The revisions that this code knows, oldest first: their files begin with them."""
    return sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def database_revision(connection: Connection) -> str | None:
    """The revision of a database; None where Lotline has no tables in it yet."""
    if connection.scalar(text("SELECT to_regclass('lotline.alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM lotline.alembic_version"))
    return found


def check(connection: Connection) -> bool:
    """Whether the database is at the code's revision; False where it has no tables at all.

    Raises:
        StoreError: it is behind, or newer than the code.
    """
    found, known = database_revision(connection), code_revisions()
    if found is None:
        return False
    if found not in known:
        raise StoreError(
            f"the database is at revision {found}, which this version of Lotline (at {known[-1]}) "
            "does not know: use the newer Lotline that upgraded it"
        )
    if found != known[-1]:
        raise StoreError(
            f"the database is at revision {found} and this version of Lotline needs {known[-1]}: "
            "run `lotline db upgrade`"
        )
    return True


def upgrade(engine: Engine) -> None:
    """Bring the schema to the code's revision, in one transaction. Does nothing at the head.

    Safe when several commands do it at once.

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
            f"the schema {SCHEMA} could not be made or upgraded: {error.orig}: give this role the "
            "right to create schemas in the database, or another database to work in"
        ) from error


def _run_migrations(connection: Connection) -> None:
    # Alembic takes a while to import, and a database at the head does not need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _require_postgis(connection: Connection) -> None:
    """Raises StoreError where PostGIS is neither there nor can be made."""
    if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")):
        return
    if not connection.scalar(text("SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'")):
        raise StoreError(
            "the database server has no PostGIS: install it there "
            "(Debian and Ubuntu: apt-get install postgresql-postgis), or use another server"
        )
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS postgis"))
    except DBAPIError as error:
        raise StoreError(
            f"PostGIS is not enabled in the database and could not be ({error.orig}): let its "
            "administrator run CREATE EXTENSION postgis in it"
        ) from error
