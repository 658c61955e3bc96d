"""All settings: names, types, defaults and help texts.

A setting's name is its key in `lotline.toml`; in capitals, its environment variable; its flag is
named alike. A flag overrides the environment, which overrides the file, which overrides the
default. Per-run flags (`--again` and others) cannot be set in `lotline.toml`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    field_validator,
)
from pydantic.functional_validators import AfterValidator, BeforeValidator

from detection.segmenters import DEFAULT_SEGMENTER
from pipeline.bbox import BBox, parse_bbox, validate_bbox
from pipeline.errors import SettingsError
from pipeline.log import LogFormat, LogLevel
from pipeline.redaction import redactor, secrets_of_url
from pipeline.settings_file import SettingsFile, problem_text, read_settings_file


def default_home() -> Path:
    """Return Lotline's data folder: `.lotline` in a clone, else in the user's data folder."""
    clone = Path(__file__).resolve().parent.parent
    try:
        project = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))
        if project["project"]["name"] == "lotline":
            return clone / ".lotline"
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        pass  # installed from a wheel: no pyproject.toml beside the packages
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "lotline"


def _expand_user(path: Path) -> Path:
    # GDAL and PostgreSQL read other names, and messages would break.
    if any(ord(mark) < 32 or ord(mark) == 127 for mark in str(path)):
        raise ValueError("a path with a line break or another control character is not supported")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("the user after ~ has no home folder; write the full path") from error


def _parse_bbox_value(value: object) -> object:
    if isinstance(value, str):
        return parse_bbox(value)
    return validate_bbox(value) if isinstance(value, list | tuple) else value


# URLs that SQLAlchemy parses as their author meant. In a password that is not percent-encoded, an @
# would end it too early, and the rest would be printed as a host.
_POSTGRES_URL = re.compile(
    r"(?:postgres|postgresql|postgresql\+psycopg)://"
    r"(?:[^:/]*(?::[^@]*)?@)?"
    r"(?:\[[^/?@]+\]|[^/:?@]*)(?::\d*)?"
    r"(?:/[^?@]*)?(?:\?.*)?"
)


def _check_postgres_url(url: str) -> str:
    # Never print the URL itself: the password may be anywhere in it. USER:PASSWORD@ is not part of
    # the example, because redaction would mask it.
    if not _POSTGRES_URL.fullmatch(url):
        raise ValueError(
            "not a PostgreSQL URL; write postgresql://USER@HOST:PORT/DATABASE, with a password "
            "USER:PASSWORD@ (in the password, %40 for @, %2F for /, %3A for :)"
        )
    return url


# More than a database counts is a mistake.
MAX_COUNT = 2**31 - 1

UserPath = Annotated[Path, AfterValidator(_expand_user)]


class Settings(BaseModel):
    """Settings of the library and of all commands."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: Annotated[str, AfterValidator(_check_postgres_url)] | None = Field(
        None, repr=False, description="PostGIS database; the embedded one by default.",
        examples=["postgresql://ann@db.example/lots"],
    )  # fmt: skip
    home: UserPath = Field(
        default_factory=default_home,
        description="Folder of the embedded database and the sample county.",
        examples=["/data/lotline"],
    )
    registry: UserPath | None = Field(
        None, description="Registry file; its paths are relative to it.",
        examples=["counties.yaml"],
    )  # fmt: skip
    sam3_weights: str | None = Field(
        None,
        description="SAM3 weights: a folder, a file (.safetensors, sam3.pt) or a hub id "
        "(facebook/sam3).",
        examples=["facebook/sam3"],
    )
    landcover_weights: UserPath | None = Field(
        None,
        description="Folder of landcover's weights, as lotline train writes them; the package's "
        "own by default.",
        examples=["out/decoder/weights"],
    )
    ray_address: str | None = Field(
        None,
        description="For ENGINE=ray: HOST:PORT of the cluster's head, or auto on one of its "
        "machines; by default, a cluster of this machine only.",
        examples=["10.0.0.7:6379"],
    )
    ray_gpus_per_worker: float = Field(
        1.0,
        gt=0,
        description="For ENGINE=ray: GPUs per worker, 1 by default; at 0.5, two workers share one.",
        examples=[0.5],
    )

    @field_validator("*", mode="before")
    @classmethod
    def _has_no_nul_byte(cls, value: object) -> object:
        parts = value if isinstance(value, list | tuple) else [value]
        if any("\0" in str(part) for part in parts if isinstance(part, str | Path)):
            raise ValueError("contains a NUL byte; remove it")
        return value

    def weights_of(self, segmenter: str) -> str | None:
        """The weights that the settings give a segmenter; None for its own, or none."""
        return weights_of(segmenter, self.sam3_weights, self.landcover_weights)


def weights_of(
    segmenter: str, sam3_weights: str | None, landcover_weights: Path | None
) -> str | None:
    """Which weights `build_segmenter` gets for a segmenter: those of another one never."""
    if segmenter == "sam3":
        return sam3_weights
    if segmenter == "landcover" and landcover_weights is not None:
        return str(landcover_weights)
    return None


class FileSettings(Settings):
    """Settings that lotline.toml may set: also those that only commands have, as flags."""

    county: str = Field(
        "sample", description="County: a registry key, a name or a FIPS code.", examples=["shelby"]
    )
    properties: UserPath | None = Field(
        None,
        description="CSV with property_id and longitude, latitude, or a parcel_id, or an address.",
        examples=["leads.csv"],
    )
    labels: tuple[str, ...] = Field(
        (), description="Labels to detect; all by default.", examples=[["lawn", "pool"]]
    )
    label: tuple[str, ...] = Field(
        (),
        description='Additional label: "trampoline=round backyard trampoline". Repeatable.',
        examples=[["trampoline=round backyard trampoline"]],
    )
    segmenter: Literal["spectral", "landcover", "sam3", "sam3-tiny", "sam3-nano"] = Field(
        DEFAULT_SEGMENTER,
        description="Detection model: landcover (six labels, trained on aerial images), sam3 "
        "(needs weights), sam3-nano (a small SAM3, less exact than landcover), sam3-tiny (trained "
        "on synthetic images only) or spectral (a baseline without weights).",
        examples=["sam3"],
    )
    engine: Literal["local", "ray"] = Field(
        "local",
        description="Where the stages run: on this machine, or on a Ray cluster.",
        examples=["ray"],
    )
    limit: Annotated[StrictInt, Field(ge=1, le=MAX_COUNT)] | None = Field(
        None, description="Maximum number of properties.", examples=[100]
    )
    bbox: Annotated[BBox, BeforeValidator(_parse_bbox_value)] | None = Field(
        None,
        description="Only properties in this box: WEST,SOUTH,EAST,NORTH in degrees.",
        examples=["-90.1,35.0,-89.9,35.2"],
    )
    when_unavailable: Literal["defer", "buffer"] = Field(
        "defer",
        description="If the county's server is unavailable: defer the property to a later run, or "
        "measure a 30 m buffer.",
    )
    out: UserPath | None = Field(
        None,
        description="Folder of the map and the report; out/COUNTY by default.",
        examples=["results"],
    )
    log_level: LogLevel = Field("WARNING", description="Minimum log level.")
    log_format: LogFormat = Field(
        "text", description="Log format: text lines, or one JSON object per line."
    )


class CommandSettings(FileSettings):
    """All settings, with the per-run flags that lotline.toml must not set.

    In a file they would apply to every batch: it would reprocess the county each time, and turn
    all its lots into properties without confirmation.
    """

    again: bool = Field(False, description="Reprocess completed properties.")
    stale: bool = Field(
        False, description="Reprocess properties that older weights of the segmenter measured."
    )
    retry_failed: bool = Field(
        False,
        description="Retry properties without a result: failed, deferred, no_imagery.",
    )
    all_lots: bool = Field(
        False,
        description="Turn every lot of the county into a property; asks for confirmation.",
    )
    yes: bool = Field(False, description="Do not ask for confirmation.")


_VARIABLES = {"home": "LOTLINE_HOME"}


def env_variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return _VARIABLES.get(name, name.upper())


def settings_file(environment: Mapping[str, str] = os.environ) -> SettingsFile:
    """Read `lotline.toml`; without one, an empty `SettingsFile`.

    Raises:
        SettingsError: it cannot be read, or has an unknown setting or a wrong value.
    """
    per_run = CommandSettings.model_fields.keys() - FileSettings.model_fields.keys()
    return read_settings_file(environment, FileSettings, per_run)


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read settings: the environment's over the file's; an empty variable counts as not set.

    Raises:
        SettingsError: the file or a variable has a wrong value.
    """
    file = settings_file(environment)
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = environment.get(env_variable(name)) or file.values.get(name)
        if value is not None:
            given[name] = value
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems = (
            f"{env_variable(str(problem['loc'][0]))}{problem_text(problem)}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise SettingsError("\n".join(problems)) from None
    if settings.database_url:
        redactor.add_secrets(secrets_of_url(settings.database_url))
    return settings.model_copy(update={"home": settings.home.absolute()})
