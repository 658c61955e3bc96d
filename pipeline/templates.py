"""Jinja2 templates that a package ships in its `templates` folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from parcels.untrusted import printable


def load_templates(package: str, filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """The templates of a package, with filters of its own.

    Every value is HTML-escaped, except in `*.md.jinja`: Markdown has its own filter for that.
    Control characters in values become spaces.
    A name that a template uses and nobody passes is an error.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(disabled_extensions=["md.jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {"thousands": thousands, **filters}
    return environment


def _shown(value: object) -> object:
    """A value as it is written: text from outside turns no direction and no terminal's colour."""
    if isinstance(value, Markup):
        return Markup(printable(value, keep="\n\t"))  # noqa: S704 - escaped already
    return printable(value, keep="\n\t") if isinstance(value, str) else value


def thousands(count: int) -> str:
    """A count with commas: 12,345."""
    return f"{count:,}"
