"""The few pieces of HTML that the page is made of. Text is escaped here, and only `Raw` is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


class Raw(str):
    """HTML that was made from escaped text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `kind` is a class of page.css: `n` aligns numbers to the right."""

    heading: str
    kind: str = ""


def number(heading: str) -> Column:
    """A column of numbers."""
    return Column(heading, "n")


def made(text: str) -> Raw:
    """Text as HTML shows it, quotes escaped too: for contents and for attributes."""
    return text if isinstance(text, Raw) else Raw(escape(text))


def joined(parts: Iterable[str]) -> Raw:
    """Parts one after the other."""
    return Raw("\n".join(made(part) for part in parts))


def element(name: str, content: str = "", **attributes: str) -> Raw:
    """An element; `class_` is the attribute class, and an empty attribute is left out."""
    said = "".join(
        f' {key.rstrip("_")}="{made(value)}"' for key, value in attributes.items() if value
    )
    return Raw(f"<{name}{said}>{made(content)}</{name}>")


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Raw:
    """A table that scrolls by itself where the page is too narrow for it."""
    head = joined(element("th", each.heading, class_=each.kind) for each in columns)
    body = joined(
        element(
            "tr",
            joined(
                element("td", cell, class_=column.kind)
                for column, cell in zip(columns, row, strict=True)
            ),
        )
        for row in rows
    )
    inner = element("thead", element("tr", head)) + element("tbody", body)
    return element("div", element("table", Raw(inner)), class_="wide")


def bar(share: float, kind: str = "", colour: str = "") -> Raw:
    """A bar that is so much (0..1) of its cell wide."""
    style = f"width:{100 * min(max(share, 0.0), 1.0):.2f}%"
    return element("i", class_=kind, style=f"{style};background:{colour}" if colour else style)


def legend(entries: Iterable[tuple[Raw, str]]) -> Raw:
    """What is shown how: a swatch and a text of each."""
    spans = [element("span", joined([shown, text])) for shown, text in entries]
    return element("div", joined(spans), class_="legend")


def swatch(kind: str) -> Raw:
    """A mark of a legend; `kind` is a class of page.css."""
    return element("i", class_=kind)
