"""The optional extras of Lotline: which are installed, and what installs the others."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

from pipeline.doctor.checks import CheckLevel, CheckRow

# What each extra is for; the command itself needs `pipeline`.
_EXTRAS = {
    "detection": "segmenters",
    "pipeline": "batches and the database",
    "review": "the review panel",
    "evaluation": "lotline evaluate",
    "ray": "ENGINE=ray",
    "s3": "s3:// addresses",
}
_NEEDED = ("detection", "pipeline")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")


def extra_rows(extras: dict[str, str] = _EXTRAS) -> list[CheckRow]:
    """A row for the installed extras, and one for each that is not complete."""
    try:
        lines = requires("lotline") or []
    except PackageNotFoundError:
        return [CheckRow("extras", "warning", "lotline is not installed, only its source is here",
                         "pip install -e '.[pipeline]'")]  # fmt: skip
    missing = {extra: _missing(extra, lines) for extra in extras}
    complete = [extra for extra, names in missing.items() if not names]
    rows = [CheckRow("extras", "ok", ", ".join(complete) or "none is complete")]
    for extra, names in missing.items():
        if names:
            level: CheckLevel = "problem" if extra in _NEEDED else "warning"
            found = f"{extra} ({extras[extra]}) lacks {', '.join(names)}"
            rows.append(CheckRow("extras", level, found, f"pip install 'lotline[{extra}]'"))
    return rows


def _missing(extra: str, lines: list[str]) -> list[str]:
    """The packages of an extra that are not installed."""
    names = []
    for line in lines:
        of_extra, name = _EXTRA.search(line), re.match(r"[\w.-]+", line)
        if of_extra is None or name is None or of_extra[1] != extra or name[0] == "lotline":
            continue
        try:
            version(name[0])
        except PackageNotFoundError:
            names.append(name[0])
    return names
