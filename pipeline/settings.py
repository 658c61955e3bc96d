"""Settings from the environment, in one typed place. A command's flags go over them."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import SettingsError


def default_home() -> Path:
    """Where Lotline keeps what it makes: `.lotline` in a clone, else the user's data folder."""
    clone = Path(__file__).resolve().parent.parent
    try:
        project = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))
        if project["project"]["name"] == "lotline":
            return clone / ".lotline"
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        pass  # installed from a wheel: nothing of ours lies beside the packages
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "lotline"


class Settings(BaseSettings):
    """What the environment may set.

    Attributes:
        database_url: DATABASE_URL; None means the embedded PostGIS.
        registry: REGISTRY; None means the registry.yaml that Lotline ships.
        home: LOTLINE_HOME, the folder of the embedded database and the sample county.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, populate_by_name=True)

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    registry: Path | None = Field(default=None, validation_alias="REGISTRY")
    home: Path = Field(default_factory=default_home, validation_alias="LOTLINE_HOME")


def load_settings() -> Settings:
    """The settings of this environment.

    Raises:
        SettingsError: a variable that cannot be read as what it should be.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{first['loc'][0]}: {first['msg']}") from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
