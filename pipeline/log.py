"""Logs: of which run, county and property a record is, as a line for people or as JSON.

    with log_context(run=12, county="shelby"):
        ...                      # every record made in here says so, whoever makes it

Importing Lotline sets up nothing: a command does, with `configure`, and so does each process that
works for it, with what `setup` gave. Secrets are taken out where a record becomes text.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from pipeline.redaction import redactor, secrets_of_environment

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

OURS = ("parcels", "detection", "pipeline", "lotline")
SUBJECTS = ("run", "county", "property")

_context: ContextVar[dict[str, int | str]] = ContextVar("lotline_log_context")


@dataclass(frozen=True, slots=True)
class LogSetup:
    """How this process logs; it can be sent to another. It holds secrets: hide it from people."""

    level: LogLevel = "WARNING"
    format: LogFormat = "text"
    context: dict[str, int | str] = field(default_factory=dict)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


_setup = LogSetup()


@contextmanager
def log_context(
    *,
    run: int | None = None,
    county: str | None = None,
    property: str | None = None,  # noqa: A002
) -> Iterator[None]:
    """Every record made inside is of this run, county and property; None leaves what was said.

    It holds for this thread, and for those that run in a copy of its context.
    """
    given = {"run": run, "county": county, "property": property}
    known = {name: value for name, value in given.items() if value is not None}
    token = _context.set({**_context.get({}), **known})
    try:
        yield
    finally:
        _context.reset(token)


# Its earlier name, which other services still import.
about = log_context


def configure(level: LogLevel = "WARNING", format: LogFormat = "text") -> None:  # noqa: A002
    """Log to standard error from now on; uncaught errors and warnings are records too.

    `level` is of Lotline's own records; of other libraries nothing below a warning is logged.
    """
    global _setup  # noqa: PLW0603  logging is one for a process
    _setup = LogSetup(level, format)
    redactor.add_secrets(secrets_of_environment(os.environ))
    handler = _StandardError()
    handler.addFilter(_stamp)
    handler.setFormatter(_Json() if format == "json" else _Text())
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _StandardError)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def setup() -> LogSetup:
    """How this process logs, what about, and the secrets that it knows: for one that helps it."""
    return LogSetup(_setup.level, _setup.format, dict(_context.get({})), redactor.known)


def configure_as(given: LogSetup) -> None:
    """Log as the process that made this does, and of the same run."""
    redactor.add_secrets(given.secrets)
    configure(given.level, given.format)
    _context.set(dict(given.context))


def is_json() -> bool:
    """Whether standard error is for programs: then nothing but records goes there."""
    return _setup.format == "json"


class _StandardError(logging.Handler):
    """Looks for standard error at each record: a live progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # a log that cannot be written stops no work
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """Say what failed and where; logging's own way prints the record with its secrets."""
        error = sys.exc_info()[1]
        text = f"a record of {record.name}, line {record.lineno}, cannot be logged: {error!r}\n"
        with suppress(OSError):  # standard error is closed: nobody is there to be told
            sys.stderr.write(redactor.text(text))


class _Text(logging.Formatter):
    """`INFO: run 12, property a-17: what happened`, and the traceback where there is one."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s: %(about)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # Without the county, which is the run's.
        names = [name for name in ("run", "property") if hasattr(record, name)]
        said = ", ".join(f"{name} {getattr(record, name)}" for name in names)
        record.about = f"{said}: " if said else ""
        return redactor.text(super().format(record))


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in SUBJECTS if hasattr(record, name)},
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(redactor.mapping(told), default=lambda value: redactor.text(str(value)))


def _stamp(record: logging.LogRecord) -> bool:
    """A record says what it is about; `extra=` of the call itself goes first."""
    for name, value in _context.get({}).items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _setup.format == "json":
        logging.getLogger("lotline").critical(
            "an error that was not expected", exc_info=(kind, error, trace)
        )
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(redactor.text(text))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
