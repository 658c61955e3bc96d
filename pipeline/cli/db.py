"""`lotline db`: the database's address, its schema, and stopping the embedded one."""

from __future__ import annotations

import sys

import click

from pipeline.settings import load_settings


@click.group()
def db() -> None:
    """The database: PostGIS at DATABASE_URL, or the embedded one."""


@db.command()
def url() -> None:
    """Print the address, for psql. The embedded database stays up until `lotline db stop`.

    A terminal is not shown the password; psql "$(lotline db url)" is.
    """
    from pipeline.redaction import redactor
    from pipeline.store.database import open_database

    settings = load_settings()
    with open_database(settings.database_url, settings.home) as database:
        if database.server:
            database.server.keep_running()
        click.echo(redactor.address(database.url) if sys.stdout.isatty() else database.url)


@db.command()
def upgrade() -> None:
    """Bring the schema up to this version of Lotline."""
    from pipeline.store.database import open_database

    settings = load_settings()
    with open_database(settings.database_url, settings.home, upgrade=True):
        click.echo("the schema is up to date")


@db.command()
def stop() -> None:
    """Stop the embedded database."""
    from pipeline.store.embedded.postgres import EmbeddedPostgres

    settings = load_settings()
    if settings.database_url:
        raise click.UsageError("DATABASE_URL is set: that database is not Lotline's to stop")
    EmbeddedPostgres(settings.home / "postgres").stop()
