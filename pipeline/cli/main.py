"""The command's root: its subcommands, and how its errors reach people."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import click

from parcels.errors import ParcelsError
from pipeline import log
from pipeline.cli.batch import batch
from pipeline.cli.config import config
from pipeline.cli.db import db
from pipeline.cli.export import export
from pipeline.cli.options import file_defaults, setting
from pipeline.cli.output import print_message
from pipeline.cli.parcels import parcels
from pipeline.cli.registry import registry
from pipeline.cli.review import review
from pipeline.cli.runs import runs
from pipeline.cli.status import status
from pipeline.cli.streams import open_streams
from pipeline.errors import PipelineError
from pipeline.redaction import redactor
from pipeline.settings import env_variable, settings_file
from pipeline.settings_file import SettingsFile

INTERRUPTED = 130

# Only its use shows that such a value is wrong, and the error knows not where that came from.
_FOUND_WRONG_LATER = {
    "database_url", "registry", "sam3_weights", "ray_address",
    "county", "properties", "labels", "segmenter",
}  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("lotline"), prog_name="lotline")
@setting("log_level")
@setting("log_format")
def lotline(log_level: log.LogLevel, log_format: log.LogFormat) -> None:
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
    file = SettingsFile()
    try:
        file = settings_file()
        lotline.main(standalone_mode=False, default_map=file_defaults(lotline, file.values))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except SystemExit as stop:
        if stop.code != INTERRUPTED:
            raise
        _leave(INTERRUPTED)
    except click.ClickException as error:
        _fail(error.format_message(), usage=error)
    except (click.Abort, KeyboardInterrupt):
        print_message("stopped", logging.WARNING)
        _leave(INTERRUPTED)
    except (ParcelsError, PipelineError) as error:
        _fail(_with_places(str(error), file))
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        from detection.errors import DetectionError

        if isinstance(error, DBAPIError):
            said = " ".join(str(error.orig).split())
            _fail(f"the database refused or went away: {said}; what was written is kept")
        if not isinstance(error, DetectionError):
            raise
        _fail(_with_places(str(error), file))


def _with_places(message: str, file: SettingsFile) -> str:
    """Say too where the file gives what a message names: nobody may have typed it."""
    named = {
        name: [value] if isinstance(value, str | Path) else value
        for name, value in file.values.items()
        if name in _FOUND_WRONG_LATER and not os.environ.get(env_variable(name))
    }
    if "database_url" in named:  # its value is in no message
        named["database_url"] = ["DATABASE_URL"]
    places = [
        f"; {name!r} stands in {file.location(name)}"
        for name, values in named.items()
        if any(re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", message) for value in values)
    ]
    return "".join([message, *places])


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
        print_message(message, logging.ERROR)
    _leave(2)
