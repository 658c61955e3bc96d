"""Command-line options that are settings, and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource

from pipeline.settings import CommandSettings, env_variable, settings_file

_Command = TypeVar("_Command", bound=Callable[..., Any])


class SettingOption(click.Option):
    """An option that can also be set by an environment variable or in lotline.toml."""

    def __init__(self, *args: Any, setting: str, **kwargs: Any) -> None:  # noqa: ANN401  click's
        super().__init__(*args, **kwargs)
        self.setting = setting

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the source of a wrong value: the flag, the variable, or the line of the file."""
        if ctx is not None and self.name is not None:
            source = ctx.get_parameter_source(self.name)
            if source is ParameterSource.ENVIRONMENT:
                return f"environment variable {self.envvar}"
            if source is ParameterSource.DEFAULT_MAP:
                return f"{self.setting!r} in {settings_file().location(self.setting)}"
        return super().get_error_hint(ctx)


class PositiveInt(click.IntRange):
    """Like `click.IntRange`, but its error says "whole number", not "integer"."""

    name = "whole number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse and check the range."""
        try:
            number = int(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        return int(super().convert(number, param, ctx))


def setting(name: str, *declared: str, **more: Any) -> Callable[[_Command], _Command]:  # noqa: ANN401  click's
    """Return the option of a setting, with its variable, default and help text.

    `declared` and `more` go to `click.option`; the flag is the setting's name by default.
    """
    field = CommandSettings.model_fields[name]
    if get_origin(field.annotation) is Literal:
        more["type"] = click.Choice(get_args(field.annotation), case_sensitive=False)
    elif field.annotation is bool:
        more["is_flag"] = True
    if isinstance(field.default, str):
        more.update(default=field.default, show_default=True)
    return click.option(
        *(declared or (f"--{name.replace('_', '-')}",)),
        cls=SettingOption, setting=name, envvar=env_variable(name), help=field.description, **more,
    )  # fmt: skip


def file_defaults(command: click.Command, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings file's values as click's `default_map`, by command and parameter."""
    defaults = {
        str(option.name): values[option.setting]
        for option in command.params
        if isinstance(option, SettingOption) and option.setting in values
    }
    if not isinstance(command, click.Group):
        return defaults
    return defaults | {name: file_defaults(sub, values) for name, sub in command.commands.items()}


county_option = setting("county")
registry_option = setting("registry", type=click.Path(path_type=Path))
