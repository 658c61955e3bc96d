"""Settings from the environment, in one typed place. A command's flags go over them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


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


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment may set.

    Attributes:
        database_url: DATABASE_URL; None means the embedded PostGIS.
        registry: REGISTRY; None means the registry.yaml that Lotline ships.
        home: LOTLINE_HOME, the folder of the embedded database and the sample county.
        sam3_weights: SAM3_WEIGHTS, a folder, a file or a hub id, for the segmenter sam3.
    """

    database_url: str | None = None
    registry: Path | None = None
    home: Path = field(default_factory=default_home)
    sam3_weights: str | None = None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an environment; a variable that is empty is not set."""
    registry = environment.get("REGISTRY")
    home = environment.get("LOTLINE_HOME")
    return Settings(
        database_url=environment.get("DATABASE_URL") or None,
        registry=Path(registry) if registry else None,
        home=Path(home).expanduser().absolute() if home else default_home(),
        sam3_weights=environment.get("SAM3_WEIGHTS") or None,
    )
