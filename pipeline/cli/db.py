"""`lotline db`: URL, schema, source of a county, and end of the embedded server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.options import county_option, registry_option
from pipeline.cli.output import echo
from pipeline.plurals import count_of
from pipeline.settings import load_settings


@click.group()
def db() -> None:
    """Manage the database and its schema.

    The database is the PostGIS at DATABASE_URL, or the embedded one.
    """


@db.command()
def url() -> None:
    """Print the database URL. The embedded server then runs until `lotline db stop`.

    On a terminal the password is masked; psql "$(lotline db url)" receives it.
    """
    from pipeline.redaction import redactor
    from pipeline.store.database import open_database

    settings = load_settings()
    with open_database(settings.database_url, settings.home) as database:
        if database.server:
            database.server.keep_running()
        echo(redactor.url(database.url) if sys.stdout.isatty() else database.url)


@db.command()
def upgrade() -> None:
    """Migrate the schema to this version of Lotline."""
    from pipeline.store.database import open_database

    settings = load_settings()
    with open_database(settings.database_url, settings.home, upgrade=True):
        echo("the schema is up to date")


@db.command()
@county_option
@registry_option
def rebind(county: str, registry: Path | None) -> None:
    """Bind a county's stored results to its registry entry.

    The results of a county belong to the source of its registry entry: the layer, the file or the
    seed, the state and the FIPS code. A batch of another entry with that key is refused. If it is
    the same county, whose server or file has moved, this command accepts the new source.
    """
    from pipeline.cli.stored import first_batch_hint
    from pipeline.county_entry import find_county
    from pipeline.store.counties import rebind_county
    from pipeline.store.database import open_existing

    settings = load_settings()
    entry = find_county(county, registry or settings.registry)
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            echo(f"Nothing is stored yet: {first_batch_hint(entry)}.")
            return
        with database.engine.begin() as conn:
            earlier, kept = rebind_county(conn, entry)
    echo(f"{entry.key}: bound to {entry.source.description}")
    if earlier is not None:
        echo(
            f"Before, it was {earlier}. Its {count_of(kept, 'properties')} and their results are "
            "kept; a batch with --again (AGAIN=1) measures them with the new source."
        )


@db.command()
def stop() -> None:
    """Stop the embedded database server."""
    from pipeline.store.embedded.postgres import EmbeddedPostgres

    settings = load_settings()
    if settings.database_url:
        raise click.UsageError("DATABASE_URL is set; unset it to stop the embedded database")
    EmbeddedPostgres(settings.home / "postgres").stop()
