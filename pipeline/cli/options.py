"""Options of commands: those that are settings, and those that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource

from pipeline.settings import CommandSettings, env_variable, settings_file

_Command = TypeVar("_Command", bound=Callable[..., Any])


class SettingOption(click.Option):
    """An option that is a setting: the environment and the settings file may give it, too."""

    def __init__(self, *args: Any, setting: str, **kwargs: Any) -> None:  # noqa: ANN401  click's
        super().__init__(*args, **kwargs)
        self.setting = setting

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Where the wrong value is from, which need not be a flag: nobody may have given it."""
        if ctx is not None and self.name is not None:
            source = ctx.get_parameter_source(self.name)
            if source is ParameterSource.ENVIRONMENT:
                return f"{self.envvar} of the environment"
            if source is ParameterSource.DEFAULT_MAP:
                return f"{self.setting!r} of {settings_file().location(self.setting)}"
        return super().get_error_hint(ctx)


class PositiveInt(click.IntRange):
    """A whole number, of which a wrong one is told in these words."""

    name = "whole number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read."""
        try:
            number = int(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        return int(super().convert(number, param, ctx))


def setting(name: str, *declared: str, **more: Any) -> Callable[[_Command], _Command]:  # noqa: ANN401  click's
    """The option of a setting; its variable, default and help are the setting's own.

    `declared` and `more` are as of `click.option`; by default the flag is named for the setting.
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
    """The settings file's values as click takes them: a command's defaults, by its parameters."""
    own = {
        str(option.name): values[option.setting]
        for option in command.params
        if isinstance(option, SettingOption) and option.setting in values
    }
    if not isinstance(command, click.Group):
        return own
    return own | {name: file_defaults(each, values) for name, each in command.commands.items()}


county_option = setting("county")
registry_option = setting("registry", type=click.Path(path_type=Path))
