"""`lotline config`: what every setting is, and where that came from."""

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
    """A setting as it would be used now.

    Attributes:
        value: as JSON knows it, without secrets; None is not set.
        place: the flag, the variable, or the file's line; "" for a default.
    """

    name: str
    variable: str
    value: Any
    source: SettingSource
    place: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show every setting, and where it came from: a flag, the environment, lotline.toml."""
    from pipeline.settings import settings_file

    file = settings_file()
    try:
        rows = list(_rows(ctx.find_root(), file))
    except click.UsageError as error:  # of the batch that is read here, and that nobody typed
        raise click.UsageError(error.format_message(), ctx) from None
    if as_json:
        told = {
            "file": None if file.path is None else str(file.path.absolute()),
            "settings": [asdict(row) for row in rows],
        }
        click.echo(json.dumps(told, indent=2))
        return
    names = max(len(row.name) for row in rows)
    places = max(len(row.place or row.source) for row in rows)
    for row in rows:
        place = row.place or row.source
        click.echo(f"{row.name:<{names}}  {place:<{places}}  {_shown(row.value)}")
    if file.path is None:
        click.echo("There is no lotline.toml in this folder, and LOTLINE_CONFIG names none.")


def _rows(root: click.Context, file: SettingsFile) -> Iterator[SettingRow]:
    """Every setting, read as the commands themselves read it."""
    from pipeline.redaction import redactor
    from pipeline.settings import CommandSettings, env_variable, load_settings

    plain = load_settings()
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
            value = getattr(plain, name)
            source = "file" if name in file.values else "default"
            source = "environment" if os.environ.get(variable) else source
        places = {"flag": f"--{name.replace('_', '-')}", "environment": variable, "default": ""}
        place = file.location(name) if source == "file" else places[source]
        if name == "database_url" and value is not None:
            value = redactor.address(value)
        as_json = json.loads(json.dumps(value, default=str))
        yield SettingRow(name, variable, redactor.mapping({name: as_json})[name], source, place)


def _shown(value: object) -> str:
    if value is None or value in ([], ()):
        return "-"
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
