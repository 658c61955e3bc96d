"""Hooks of `mkdocs build`: links that work in the repository too, and a local mermaid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_ROOT = Path(__file__).resolve().parent.parent
_FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")
_MERMAID = "javascripts/mermaid.min.js"


def on_config(config: Any, **_: object) -> Any:  # noqa: ANN401
    """Load mermaid from the site where scripts/docs.sh fetched it."""
    if _fetched_mermaid():
        config.extra_javascript.append(_MERMAID)
    return config


def on_files(files: Any, *, config: Any) -> Any:  # noqa: ANN401
    """Add mermaid to the site."""
    for path in _fetched_mermaid():
        files.append(File.generated(config, _MERMAID, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:  # noqa: ANN401
    """Read the root's documents; links into docs/ lose that prefix, links out of it become text."""
    source = _FROM_ROOT.get(page.file.src_uri)
    if source is not None:
        markdown = (_ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
    return _OUTSIDE.sub(r"\1", markdown)


def _fetched_mermaid() -> list[Path]:
    return sorted((_ROOT / "out" / "mermaid").glob("*.min.js"))[-1:]
