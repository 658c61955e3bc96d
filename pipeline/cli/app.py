"""Entry point of `lotline`: subcommands, error messages and exit codes."""

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
from parcels.installation import check_installation
from pipeline import log
from pipeline.cli.batch import batch
from pipeline.cli.config import config
from pipeline.cli.corrections import corrections
from pipeline.cli.db import db
from pipeline.cli.detect import detect
from pipeline.cli.doctor import doctor
from pipeline.cli.evaluate import evaluate
from pipeline.cli.export import export
from pipeline.cli.learn import learn
from pipeline.cli.models import models
from pipeline.cli.options import file_defaults, setting
from pipeline.cli.output import echo, print_message
from pipeline.cli.parcels import parcels
from pipeline.cli.registry import registry
from pipeline.cli.review import review
from pipeline.cli.runs import runs
from pipeline.cli.second_signal import exit_at_second_signal
from pipeline.cli.status import status
from pipeline.cli.streams import lost_output, wrap_standard_streams
from pipeline.cli.train import train
from pipeline.errors import PipelineError
from pipeline.exit_codes import INTERRUPTED, OUTPUT_LOST
from pipeline.redaction import redactor
from pipeline.settings import env_variable, settings_file
from pipeline.settings_file import SettingsFile

# Settings whose values fail only in use, in code that does not know where they were set.
_CHECKED_IN_USE = {
    "database_url", "registry", "sam3_weights", "landcover_weights", "ray_address",
    "county", "properties", "labels", "segmenter",
}  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("lotline"), prog_name="lotline")
@setting("log_level")
@setting("log_format")
def lotline(log_level: log.LogLevel, log_format: log.LogFormat) -> None:
    """Measure lawns, trees, roofs and pools on properties from aerial imagery.

    Finds each lot's boundary first, then detects what is inside it.
    """
    log.configure(log_level, log_format)
    check_installation()


_COMMANDS = (
    batch, detect, evaluate, status, runs, export, parcels, registry, review, corrections, train,
    models, learn, db, config, doctor,
)  # fmt: skip
for command in _COMMANDS:
    lotline.add_command(command)


def main() -> None:
    """Run the command; an expected error prints one message and exits with 2.

    Where the work is done but standard output could not be written, it exits with 3.
    """
    wrap_standard_streams()
    try:
        _run()
    except SystemExit as stop:
        if stop.code or not (reason := lost_output()):
            raise
    else:
        if not (reason := lost_output()):
            return
    print_message(
        f"standard output could not be written ({reason}); what was stored stays", logging.ERROR
    )
    sys.exit(OUTPUT_LOST)


def _run() -> None:
    # SIGTERM (systemd, Docker) and SIGHUP (a closed terminal) stop a batch as gracefully as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    exit_at_second_signal(INTERRUPTED)
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
        _exit_now(INTERRUPTED)
    except click.ClickException as error:
        _fail(error.format_message(), usage=error)
    except (click.Abort, KeyboardInterrupt):
        print_message("stopped", logging.WARNING)
        _exit_now(INTERRUPTED)
    except (ParcelsError, PipelineError) as error:
        _fail(_with_locations(str(error), file))
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        from detection.errors import DetectionError

        if isinstance(error, DBAPIError):
            detail = " ".join(str(error.orig).split())
            _fail(f"database error: {detail}; results written so far remain stored")
        if not isinstance(error, DetectionError):
            raise
        _fail(_with_locations(f"{error}{_command_hint(error)}", file))


def _command_hint(error: Exception) -> str:
    """How the command takes what the library's error asks for."""
    from detection.errors import UnknownLabel, WeightsMissing

    if isinstance(error, WeightsMissing) and "landcover" in str(error):
        return " (LANDCOVER_WEIGHTS= or --landcover-weights)"
    if isinstance(error, WeightsMissing):
        return " (SAM3_WEIGHTS= or --weights)"
    if isinstance(error, UnknownLabel):
        return ' (or on the command line, --label "name=prompt")'
    return ""


def _with_locations(message: str, file: SettingsFile) -> str:
    """Append where lotline.toml sets a value that the message names."""
    values_by_name = {
        name: [value] if isinstance(value, str | Path) else value
        for name, value in file.values.items()
        if name in _CHECKED_IN_USE and not os.environ.get(env_variable(name))
    }
    if "database_url" in values_by_name:  # messages name the variable, never the URL itself
        values_by_name["database_url"] = ["DATABASE_URL"]
    locations = [
        f" ({name!r} is set in {file.location(name)})"
        for name, values in values_by_name.items()
        if any(re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", message) for value in values)
    ]
    return "".join([message, *locations])


def _exit_now(code: int) -> NoReturn:
    """Exit without joining threads: those waiting for a server would delay or crash the exit."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # its reader is gone
            stream.flush()
    os._exit(code)


def _fail(message: str, usage: click.ClickException | None = None) -> NoReturn:
    if usage is not None and not log.is_json():
        text = io.StringIO()
        usage.show(text)
        echo(redactor.text(text.getvalue()).rstrip("\n"), err=True)
    else:
        print_message(message, logging.ERROR)
    _exit_now(2)
