"""`lotline db`: print the database URL, migrate the schema, stop the embedded server."""

from __future__ import annotations

import sys

import click

from pipeline.cli.output import echo
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
def stop() -> None:
    """Stop the embedded database server."""
    from pipeline.store.embedded.postgres import EmbeddedPostgres

    settings = load_settings()
    if settings.database_url:
        raise click.UsageError("DATABASE_URL is set; unset it to stop the embedded database")
    EmbeddedPostgres(settings.home / "postgres").stop()
