"""The Rich console of all tables and bars: it shows text from outside as it is, and only that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from pipeline import log


def console(*, stderr: bool = False) -> Console:
    """A Rich console that interprets nothing in a text: no markup, emoji or control characters."""
    return _PlainTextConsole(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True
    )


class _PlainTextConsole(Console):
    # A string is cleaned before Rich measures it, everything else when it is rendered.
    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: Any = None,  # noqa: ANN401 - Rich's
    ) -> Text:
        return super().render_str(
            log.visible(text), style=style, justify=justify, overflow=overflow, emoji=emoji,
            markup=markup, highlight=highlight, highlighter=highlighter,
        )  # fmt: skip

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(log.visible(segment.text), segment.style)
