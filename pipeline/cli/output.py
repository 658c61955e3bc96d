"""What a command prints: messages and lines in which text from outside is only text.

Ids of properties and parcels, and messages of servers, come from others. Escape sequences and other
control characters in them are shown as spaces, and a line break never starts a line that looks like
one of ours.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

import click

from pipeline import log
from pipeline.redaction import redactor

_logger = logging.getLogger(__name__)


def print_message(message: str, level: int = logging.INFO) -> None:
    """Print a message on standard error, whatever the log level; a record with LOG_FORMAT=json.

    Errors start with `error: `; secrets are masked; further lines are indented.
    """
    if log.is_json():
        _logger.setLevel(logging.INFO)
        _logger.log(level, "%s", message)
        return
    prefix = "error: " if level >= logging.ERROR else ""
    echo(f"{prefix}{log.indented(redactor.text(message), '  ')}", err=True)


def echo(text: str, *, err: bool = False) -> None:
    """Print lines without control characters on standard output, or standard error."""
    click.echo(log.visible(text), err=err)


def echo_json(document: str) -> None:
    """Print a JSON document; characters that a terminal would act on are escaped."""
    click.echo(re.sub(r"[^\n -~]", _escaped, document), nl=not document.endswith("\n"))


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character.isprintable():
        return character
    return "".join(f"\\u{unit:04x}" for unit in _utf16(character))


def _utf16(character: str) -> Iterable[int]:
    encoded = character.encode("utf-16-be", errors="surrogatepass")
    return (int.from_bytes(encoded[i : i + 2]) for i in range(0, len(encoded), 2))
