"""`lotline config`: every setting, its value and its source."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from pipeline.cli.batch import batch
from pipeline.cli.options import SettingOption
from pipeline.cli.output import echo, echo_json

if TYPE_CHECKING:
    from pipeline.settings_file import SettingsFile

SettingSource = Literal["flag", "environment", "file", "default"]

_SOURCES: dict[ParameterSource | None, SettingSource] = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
}


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting with its effective value.

    Attributes:
        value: JSON-compatible, secrets masked; None if not set.
        place: the flag, the variable, or the line of the file; "" for a default.
    """

    name: str
    variable: str
    value: Any
    source: SettingSource
    place: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show every setting, its value and where it is set.

    A flag overrides the environment, which overrides lotline.toml, which overrides the default.
    """
    from pipeline.settings import settings_file

    file = settings_file()
    try:
        rows = list(_rows(ctx.find_root(), file))
    except click.UsageError as error:  # raised for `batch`, which the user did not type
        raise click.UsageError(error.format_message(), ctx) from None
    if as_json:
        document = {
            "file": None if file.path is None else str(file.path.absolute()),
            "settings": [asdict(row) for row in rows],
        }
        echo_json(json.dumps(document, indent=2))
        return
    name_width = max(len(row.name) for row in rows)
    place_width = max(len(row.place or row.source) for row in rows)
    for row in rows:
        place = row.place or row.source
        echo(f"{row.name:<{name_width}}  {place:<{place_width}}  {_value_text(row.value)}")
    if file.path is None:
        echo("No lotline.toml in this folder, and LOTLINE_CONFIG is not set.")


def _rows(root: click.Context, file: SettingsFile) -> Iterator[SettingRow]:
    """Read every setting as the commands do."""
    from pipeline.redaction import redactor
    from pipeline.settings import CommandSettings, env_variable, load_settings

    without_flags = load_settings()
    with_flag = {
        option.setting: (context, str(option.name))
        for context in (root, batch.make_context("batch", [], parent=root))
        for option in context.command.params
        if isinstance(option, SettingOption)
    }
    for name in CommandSettings.model_fields:
        variable = env_variable(name)
        source: SettingSource
        if name in with_flag:
            context, parameter = with_flag[name]
            value = context.params[parameter]
            source = _SOURCES.get(context.get_parameter_source(parameter), "default")
        else:
            value = getattr(without_flags, name)
            source = "file" if name in file.values else "default"
            source = "environment" if os.environ.get(variable) else source
        places = {"flag": f"--{name.replace('_', '-')}", "environment": variable, "default": ""}
        place = file.location(name) if source == "file" else places[source]
        if name == "database_url" and value is not None:
            value = redactor.url(value)
        as_json = json.loads(json.dumps(value, default=str))
        yield SettingRow(name, variable, redactor.mapping({name: as_json})[name], source, place)


def _value_text(value: object) -> str:
    if value is None or value in ([], ()):
        return "-"
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
