"""Logging as text or JSON, with the run, county and property of each record; secrets masked.

    with log_context(run=12, county="shelby"):
        ...                      # every record logged inside carries both

Importing Lotline configures no logging. Commands call `configure`; worker processes call
`configure_as` with the result of `setup`. Secrets are masked when a record is formatted.
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

from parcels.untrusted import printable, sanitize_text
from pipeline.redaction import redactor, secrets_of_environment

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

OUR_LOGGERS = ("parcels", "detection", "pipeline", "lotline")
CONTEXT_FIELDS = ("run", "county", "property")

_context: ContextVar[dict[str, int | str]] = ContextVar("lotline_log_context")


@dataclass(frozen=True, slots=True)
class LogSetup:
    """Logging configuration for a worker process; picklable. Contains secrets: never print it."""

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
    """Add run, county and property to every record logged inside; None keeps the outer value.

    Applies to this thread, and to threads that run in a copy of its context.
    """
    given = {"run": run, "county": county, "property": property}
    known = {name: value for name, value in given.items() if value is not None}
    token = _context.set({**_context.get({}), **known})
    try:
        yield
    finally:
        _context.reset(token)


# The earlier name, which other services still import.
about = log_context


def configure(level: LogLevel = "WARNING", format: LogFormat = "text") -> None:  # noqa: A002
    """Log to standard error; warnings and uncaught exceptions are logged too.

    `level` applies to Lotline's own loggers; other libraries log at WARNING or above.
    """
    global _setup  # noqa: PLW0603  logging is global to a process
    _setup = LogSetup(level, format)
    redactor.add_secrets(secrets_of_environment(os.environ))
    handler = _StandardError()
    handler.addFilter(_add_context)
    handler.setFormatter(_Json() if format == "json" else _Text())
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _StandardError)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def setup() -> LogSetup:
    """Return this process's logging configuration, context and secrets, for a worker process."""
    return LogSetup(_setup.level, _setup.format, dict(_context.get({})), redactor.known)


def configure_as(given: LogSetup) -> None:
    """Log as the process that called `setup` does, with the same context."""
    redactor.add_secrets(given.secrets)
    configure(given.level, given.format)
    _context.set(dict(given.context))


def is_json() -> bool:
    """Whether standard error carries JSON records only."""
    return _setup.format == "json"


def visible(text: str) -> str:
    """Text for a terminal or a log: all control characters but line breaks become spaces."""
    return printable(text, keep="\n")


def indented(text: str, indent: str) -> str:
    """Indent all lines but the first, so that none of them looks like a line of its own.

    Lines that are indented already stay as they are.
    """
    first, *others = text.split("\n")
    kept = [line if not line or line.startswith("  ") else f"{indent}{line}" for line in others]
    return "\n".join([first, *kept])


class _StandardError(logging.Handler):
    """Looks up `sys.stderr` at each record, because a live progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # a failing log must not stop the work
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """Report the failure; the standard handler would print the record with its secrets."""
        error = sys.exc_info()[1]
        text = f"a record of {record.name}, line {record.lineno}, cannot be logged: {error!r}\n"
        with suppress(OSError):  # standard error is closed
            sys.stderr.write(redactor.text(text))


class _Text(logging.Formatter):
    """`INFO: run 12, property a-17: message`, with the traceback if there is one.

    Only the first line of a record starts at the margin: text from outside cannot forge another.
    """

    def __init__(self) -> None:
        super().__init__("%(levelname)s: %(context)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # The county is left out: a run has one county.
        names = [name for name in ("run", "property") if hasattr(record, name)]
        context = ", ".join(f"{name} {sanitize_text(getattr(record, name))}" for name in names)
        record.context = f"{context}: " if context else ""
        return visible(indented(redactor.text(super().format(record)), "    "))


class _Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in CONTEXT_FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(
            redactor.mapping(document), default=lambda value: redactor.text(str(value))
        )


def _add_context(record: logging.LogRecord) -> bool:
    """Add the context to a record; the call's own `extra=` takes precedence."""
    for name, value in _context.get({}).items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _setup.format == "json":
        logging.getLogger("lotline").critical("unexpected error", exc_info=(kind, error, trace))
        return
    text = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    sys.stderr.write(visible(indented(redactor.text(text), "    ")) + "\n")


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
