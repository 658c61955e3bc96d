"""`lotline.toml`: the settings file, in the working folder or named by LOTLINE_CONFIG."""

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

from parcels.regular_file import other_than_file
from pipeline.errors import SettingsError

NAME = "lotline.toml"

_MAX_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings of a file.

    Attributes:
        path: None without a file.
        values: by setting name; relative paths are resolved against the file's folder.
        lines: the line of each setting, from 1.
    """

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict)

    def location(self, name: str) -> str:
        """Return file and line of a setting: `lotline.toml:3`."""
        return f"{self.path}:{self.lines[name]}" if name in self.lines else str(self.path)


def read_settings_file(
    environment: Mapping[str, str], model: type[BaseModel], per_run: Collection[str] = ()
) -> SettingsFile:
    """Read and validate the file against a model; an empty text counts as not set.

    Args:
        per_run: settings that may only be given per run, not in a file.

    Raises:
        SettingsError: the file cannot be read, or has an unknown setting or a wrong value.
    """
    path = _find(environment)
    if path is None:
        return SettingsFile()
    text = _read(path)
    try:
        given = {key: value for key, value in tomllib.loads(text).items() if value != ""}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path} is not valid TOML: {error}; write lines like limit = 100"
        ) from None
    except RecursionError:
        raise SettingsError(f"{path} is not valid TOML: nested too deeply") from None
    file = SettingsFile(path, {}, _lines(text, given))
    try:
        read = model.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_problems(file, given, model, per_run, error)) from None
    for name in read.model_fields_set:
        value = getattr(read, name)
        file.values[name] = path.parent / value if isinstance(value, Path) else value
    return file


def _find(environment: Mapping[str, str]) -> Path | None:
    configured = environment.get("LOTLINE_CONFIG")
    if not configured:
        return Path(NAME) if Path(NAME).exists() else None
    path = Path(configured)
    if not path.exists():
        raise SettingsError(f"LOTLINE_CONFIG: there is no file {path}")
    return path


def _read(path: Path) -> str:
    try:
        if (kind := other_than_file(path)) is not None:
            raise SettingsError(f"{path} is {kind}, not a settings file")
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_CHARS + 1)
        if len(text) > _MAX_CHARS:
            raise SettingsError(f"{path} is longer than {_MAX_CHARS:,} characters; check the path")
        return text
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def _lines(text: str, keys: Mapping[str, Any]) -> dict[str, int]:
    """Find the line of each key, which `tomllib` does not report; keys start a line."""
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
    per_run: Collection[str],
    error: ValidationError,
) -> str:
    """Describe each problem on a line; never with a value, which may be a secret."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0])
        if name in per_run:
            text = (
                f"{name!r} is a per-run option; remove it and pass {_flag(name)} ({name.upper()}=1)"
            )
        elif problem["type"] == "extra_forbidden":
            text = _unknown(name, given[name], model)
        else:
            subject = f"{name!r}" if len(problem["loc"]) == 1 else f"each item of {name!r}"
            text = f"{subject}{problem_text(problem)}"
            examples = model.model_fields[name].examples
            if examples and problem["type"] != "value_error":  # our own, with an example
                text += f"; write for example {name} = {as_toml(examples[0])}"
        lines.append(f"{file.location(name)}: {text}")
    return "\n".join(dict.fromkeys(lines))


def _unknown(name: str, value: object, model: type[BaseModel]) -> str:
    if isinstance(value, dict):
        return f"settings are top-level keys; write them outside the table [{name}]"
    normalized = name.lower().replace("-", "_").removeprefix("lotline_")
    near = get_close_matches(normalized, model.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`lotline config` lists all settings"
    return f"unknown setting {name!r}; {hint}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def problem_text(problem: ErrorDetails) -> str:
    """Return a validation message to append to the setting's name."""
    if problem["type"] == "value_error":
        return f": {problem['msg'].removeprefix('Value error, ')}"
    message = problem["msg"].removeprefix("Input ")
    # Python's type names mean nothing to the user.
    message = message.replace("valid tuple", "valid list")
    return f" {message.replace('valid integer', 'whole number')}"


def as_toml(value: object) -> str:
    """Format a string, a number, a boolean or a list of them as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(item) for item in value)}]"
    return str(value) if isinstance(value, int) else f'"{value}"'
