"""docs/settings.md lists every setting with its variable, flag, default and description."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from pipeline.cli.app import lotline
from pipeline.cli.options import SettingOption
from pipeline.settings import CommandSettings, FileSettings, env_variable, settings_file

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def rows() -> list[str]:
    """The rows of the table, from the code."""
    flags = {
        option.setting: option.opts[-1]
        for command in (lotline, lotline.commands["batch"])
        for option in command.params
        if isinstance(option, SettingOption)
    }
    made = []
    for name, field in CommandSettings.model_fields.items():
        flag = f"`{flags[name]}`" if name in flags else ""
        default = f"`{field.default}`" if isinstance(field.default, str) else ""
        in_file = f"`{name}`" if name in FileSettings.model_fields else ""
        made.append(
            f"| {in_file} | `{env_variable(name)}` | {flag} | {default} | {field.description} |"
        )
    return made


def test_the_table_matches_the_settings() -> None:
    written = [line for line in DOCS.read_text().splitlines() if line.startswith(("| `", "|  | `"))]
    assert written == rows(), "write into docs/settings.md:\n" + "\n".join(rows())


def test_the_example_file_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    file = tmp_path / "lotline.toml"
    file.write_text(example)
    read = settings_file({"LOTLINE_CONFIG": str(file)})
    assert set(read.values) == set(tomllib.loads(example))


@pytest.mark.parametrize("name", sorted(lotline.commands))
def test_every_option_with_a_variable_is_a_setting(name: str) -> None:
    commands = [lotline.commands[name]]
    while commands:
        command = commands.pop()
        if isinstance(command, click.Group):
            commands += command.commands.values()
        for option in command.params:
            assert isinstance(option, SettingOption) or not getattr(option, "envvar", None), option
