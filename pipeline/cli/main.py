"""The command's root: its subcommands, and how its errors reach people."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import NoReturn

import click

from parcels.errors import ParcelsError
from pipeline import log
from pipeline.cli.batch import batch
from pipeline.cli.config import config
from pipeline.cli.db import db
from pipeline.cli.export import export
from pipeline.cli.options import from_file, setting
from pipeline.cli.parcels import parcels
from pipeline.cli.registry import registry
from pipeline.cli.review import review
from pipeline.cli.runs import runs
from pipeline.cli.status import status
from pipeline.cli.streams import open_streams
from pipeline.cli.told import tell
from pipeline.errors import PipelineError
from pipeline.redaction import redactor
from pipeline.settings import settings_file

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("lotline"), prog_name="lotline")
@setting("log_level")
@setting("log_format")
def lotline(log_level: log.Level, log_format: log.Format) -> None:
    """Measure what lies on a property: the lot's boundary first, then what is inside it."""
    log.configure(log_level, log_format)


for command in (batch, status, runs, export, parcels, registry, review, db, config):
    lotline.add_command(command)


def main() -> None:
    """Run the command; an error that Lotline raises on purpose is one message and exit code 2."""
    open_streams()
    # A service manager stops with SIGTERM what a person stops with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log.configure()
    try:
        lotline.main(standalone_mode=False, default_map=from_file(lotline, settings_file().values))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except SystemExit as stop:
        if stop.code != INTERRUPTED:
            raise
        _leave(INTERRUPTED)
    except click.ClickException as error:
        _fail(error.format_message(), usage=error)
    except (click.Abort, KeyboardInterrupt):
        tell("stopped", logging.WARNING)
        _leave(INTERRUPTED)
    except (ParcelsError, PipelineError) as error:
        _fail(str(error))
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        from detection.errors import DetectionError

        if isinstance(error, DBAPIError):
            _fail(f"the database refused or went away: {error.orig}; what was written is kept")
        if not isinstance(error, DetectionError):
            raise
        _fail(str(error))


def _leave(code: int) -> NoReturn:
    """End now: threads that wait for a server, or work, would hold the process or crash its end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _fail(message: str, usage: click.ClickException | None = None) -> NoReturn:
    if usage is not None and not log.is_json():
        shown = io.StringIO()
        usage.show(shown)
        click.echo(redactor.text(shown.getvalue()), err=True, nl=False)
    else:
        tell(message, logging.ERROR)
    _leave(2)
