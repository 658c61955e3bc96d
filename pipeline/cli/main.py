"""The command's root: its subcommands, and how its errors reach people."""

from __future__ import annotations

import io
import logging
import signal
import sys
from importlib.metadata import version
from typing import NoReturn

import click

from parcels.errors import ParcelsError
from pipeline.cli.batch import batch
from pipeline.cli.db import db
from pipeline.cli.export import export
from pipeline.cli.parcels import parcels
from pipeline.cli.registry import registry
from pipeline.cli.review import review
from pipeline.cli.status import status
from pipeline.errors import PipelineError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("lotline"), prog_name="lotline")
def lotline() -> None:
    """Measure what lies on a property: the lot's boundary first, then what is inside it."""


for command in (batch, status, export, parcels, registry, review, db):
    lotline.add_command(command)


def main() -> None:
    """Run the command; an error that Lotline raises on purpose is one message and exit code 2."""
    # A terminal that knows no m² shows a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # A service manager stops with SIGTERM what a person stops with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        lotline.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(INTERRUPTED)
    except (ParcelsError, PipelineError) as error:
        _fail(error)
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        from detection.errors import DetectionError

        if isinstance(error, DBAPIError):
            _fail(f"the database refused or went away: {error.orig}; what was written is kept")
        if not isinstance(error, DetectionError):
            raise
        _fail(error)


def _fail(error: Exception | str) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    sys.exit(2)
