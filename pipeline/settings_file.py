"""`lotline.toml`: settings in a file, found in the working folder or named by LOTLINE_CONFIG."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import SettingsError

NAME = "lotline.toml"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file sets.

    Attributes:
        path: None where there is none.
        values: by the setting's name; its paths, written from the file's folder, from this one.
        lines: on which line each stands, from 1.
    """

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict)

    def location(self, name: str) -> str:
        """Where a setting stands: `lotline.toml:3`."""
        return f"{self.path}:{self.lines[name]}" if name in self.lines else str(self.path)


def read_settings_file(
    environment: Mapping[str, str], model: type[BaseModel], orders: Collection[str] = ()
) -> SettingsFile:
    """The file's settings, checked against the fields of a model; an empty text is not set.

    Args:
        orders: settings that are given with each command, and stand in no file.

    Raises:
        SettingsError: the file cannot be read, or says what no setting knows.
    """
    path = _find(environment)
    if path is None:
        return SettingsFile()
    text = _read(path)
    try:
        given = {key: value for key, value in tomllib.loads(text).items() if value != ""}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}; write a line like limit = 100") from None
    except RecursionError:
        raise SettingsError(f"{path} is no TOML: it is nested too deeply") from None
    file = SettingsFile(path, {}, _lines(text, given))
    try:
        read = model.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_problems(file, given, model, orders, error)) from None
    for name in read.model_fields_set:
        value = getattr(read, name)
        file.values[name] = path.parent / value if isinstance(value, Path) else value
    return file


def _find(environment: Mapping[str, str]) -> Path | None:
    named = environment.get("LOTLINE_CONFIG")
    if not named:
        return Path(NAME) if Path(NAME).exists() else None
    path = Path(named)
    if not path.exists():
        raise SettingsError(f"there is no file {path}: LOTLINE_CONFIG names it")
    return path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is no UTF-8 text (byte {error.start})") from None


def _lines(text: str, keys: Mapping[str, Any]) -> dict[str, int]:
    """The line of each key. TOML's reader does not say; keys stand at the beginning of a line."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.match(r"""\s*\[*\s*["']?([\w-]+)["']?\s*[=.\]]""", line)
        if match and match[1] in keys:
            lines.setdefault(match[1], number)
    return lines


def _problems(
    file: SettingsFile,
    given: Mapping[str, Any],
    model: type[BaseModel],
    orders: Collection[str],
    error: ValidationError,
) -> str:
    """What is wrong, a line each; never with a value that may be a secret."""
    said = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0])
        if name in orders:
            text = f"{name!r} would hold for every batch: say it each time, {name.upper()}=1"
        elif problem["type"] == "extra_forbidden":
            text = _unknown(name, given[name], model)
        else:
            whose = f"{name!r}" if len(problem["loc"]) == 1 else f"each of {name!r}"
            text = f"{whose}{problem_text(problem)}"
            examples = model.model_fields[name].examples
            if examples and problem["type"] != "value_error":  # which says itself how to write it
                text += f"; write for example {name} = {as_toml(examples[0])}"
        said.append(f"{file.location(name)}: {text}")
    return "\n".join(dict.fromkeys(said))


def _unknown(name: str, value: object, model: type[BaseModel]) -> str:
    if isinstance(value, dict):
        return f"settings stand in no table: write them without [{name}]"
    meant = name.lower().replace("-", "_").removeprefix("lotline_")
    near = get_close_matches(meant, model.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`lotline config` lists those there are"
    return f"there is no setting {name!r}; {hint}"


def problem_text(problem: ErrorDetails) -> str:
    """What pydantic or a validator of ours says of a value, to stand right after its name."""
    if problem["type"] == "value_error":
        return f": {problem['msg'].removeprefix('Value error, ')}"
    said = problem["msg"].removeprefix("Input ")
    # TOML knows no tuples, and people no integers.
    return f" {said.replace('valid tuple', 'valid list').replace('valid integer', 'whole number')}"


def as_toml(value: object) -> str:
    """A text, a number, a switch or a list of texts as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(item) for item in value)}]"
    return str(value) if isinstance(value, int) else f'"{value}"'
