"""The Rich console of all tables and bars: it shows text from outside as it is, and only that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    JustifyMethod,
    OverflowMethod,
    RenderableType,
)
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pipeline import log

# A text column of a table may be folded down to this.
_WORD_WIDTH = 10


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
        width = (options or self.options).max_width
        # Without a header it is a grid that Rich lays out, such as a progress bar's.
        if isinstance(renderable, Table) and renderable.show_header:
            renderable = renderable if _needed_width(renderable) <= width else _as_lines(renderable)
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(log.visible(segment.text), segment.style)


def _needed_width(table: Table) -> int:
    """The narrowest width in which no number is cut and no word of a text is in many pieces."""
    width = 1
    for column in table.columns:
        texts = [column.header, *column.cells]
        longest = max(cell_len(line) for text in texts for line in str(text).split("\n"))
        is_folded = column.justify != "right" and not column.no_wrap
        width += (min(longest, _WORD_WIDTH) if is_folded else longest) + 1
        width += table.padding[1] + table.padding[3]
    return width


def _as_lines(table: Table) -> Group:
    """A table that a narrow terminal cannot show: for each row its first value, then the others."""
    headers = [str(column.header) for column in table.columns]
    lines: list[Text] = [Text(str(table.title))] if table.title else []
    for row in zip(*(column.cells for column in table.columns), strict=True):
        first, *others = (str(cell).replace("\n", " ") for cell in row)
        named = zip(headers[1:], others, strict=True)
        values = ", ".join(f"{name} {value}" for name, value in named if value)
        lines.append(Text(f"{headers[0]} {first}: {values}"))
    return Group(*lines)
