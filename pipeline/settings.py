"""Every setting, in one typed place: what it is called, what it may be, and what it is by itself.

A setting's name is its key in `lotline.toml`; in capitals it is the environment's variable, and its
flag is named alike. A flag goes over the environment, this over the file, this over the default.
What is ordered of one batch stands in no file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError
from pydantic.functional_validators import AfterValidator, BeforeValidator

from pipeline.bbox import BBox, parse_bbox, validate_bbox
from pipeline.errors import SettingsError
from pipeline.log import LogFormat, LogLevel
from pipeline.redaction import redactor, secrets_of_address
from pipeline.settings_file import SettingsFile, problem_text, read_settings_file


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


def _of_the_user(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("it names a user who has no home folder") from error


def _box(written: object) -> object:
    if isinstance(written, str):
        return parse_bbox(written)
    return validate_bbox(written) if isinstance(written, list | tuple) else written


# What SQLAlchemy reads as an address, and as the author meant it: in a password that is not quoted
# an @ would end it too early, and its rest be shown as a host.
_ADDRESS = re.compile(
    r"(?:postgres|postgresql|postgresql\+psycopg)://"
    r"(?:[^:/]*(?::[^@]*)?@)?"
    r"(?:\[[^/?@]+\]|[^/:?@]*)(?::\d*)?"
    r"(?:/[^?@]*)?(?:\?.*)?"
)


def _address_of_postgres(url: str) -> str:
    # The address itself is not shown: a password may be anywhere in it.
    if not _ADDRESS.fullmatch(url):
        raise ValueError(
            "it is not the address of a PostgreSQL: write postgresql://USER@HOST:PORT/DATABASE, "
            "with a password USER:PASSWORD@, and in this %40 for @, %2F for /, %3A for :"
        )
    return url


UserPath = Annotated[Path, AfterValidator(_of_the_user)]


class Settings(BaseModel):
    """What commands and the library alike take from their surroundings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: Annotated[str, AfterValidator(_address_of_postgres)] | None = Field(
        None, repr=False, description="The PostGIS to use; the embedded one without it.",
        examples=["postgresql://ann@db.example/lots"],
    )  # fmt: skip
    home: UserPath = Field(
        default_factory=default_home,
        description="The folder of the embedded database and the sample county.",
        examples=["/data/lotline"],
    )
    registry: UserPath | None = Field(
        None, description="Another registry file; its paths are relative to it.",
        examples=["counties.yaml"],
    )  # fmt: skip
    sam3_weights: str | None = Field(
        None,
        description="Of sam3: a folder, a file (.safetensors, sam3.pt) or a hub id "
        "(facebook/sam3).",
        examples=["facebook/sam3"],
    )
    ray_address: str | None = Field(
        None,
        description="Of ENGINE=ray: HOST:PORT of a cluster's head, or auto on one of its machines; "
        "this machine alone without it.",
        examples=["10.0.0.7:6379"],
    )
    ray_gpus_per_worker: float = Field(
        1.0,
        gt=0,
        description="Of ENGINE=ray: 0.5 where two workers share a GPU; 1 without it.",
        examples=[0.5],
    )


class FileSettings(Settings):
    """What a file may set: also what commands alone know, where each has a flag."""

    county: str = Field("sample", description="A county of the registry.", examples=["shelby"])
    properties: UserPath | None = Field(
        None,
        description="A CSV: property_id and longitude, latitude, or a parcel_id, or an address.",
        examples=["leads.csv"],
    )
    labels: tuple[str, ...] = Field(
        (), description="Which labels; all by default.", examples=[["lawn", "pool"]]
    )
    label: tuple[str, ...] = Field(
        (),
        description='A label of your own, too: "trampoline=round backyard trampoline". Repeatable.',
        examples=[["trampoline=round backyard trampoline"]],
    )
    segmenter: Literal["spectral", "sam3", "sam3-tiny"] = Field(
        "spectral",
        description="What looks at the imagery: sam3 (needs weights), sam3-tiny (trained on "
        "synthetic pictures alone) or spectral (a baseline without weights).",
        examples=["sam3"],
    )
    engine: Literal["local", "ray"] = Field(
        "local", description="Where the stages run: here, or on a Ray cluster.", examples=["ray"]
    )
    limit: Annotated[StrictInt, Field(ge=1)] | None = Field(
        None, description="At most so many.", examples=[100]
    )
    bbox: Annotated[BBox, BeforeValidator(_box)] | None = Field(
        None,
        description="Only properties that lie in this box: WEST,SOUTH,EAST,NORTH in degrees.",
        examples=["-90.1,35.0,-89.9,35.2"],
    )
    when_unavailable: Literal["defer", "buffer"] = Field(
        "defer",
        description="Where the county's server does not answer: leave for later, or measure a "
        "30 m buffer.",
    )
    out: UserPath | None = Field(
        None, description="The folder of the map; out/COUNTY by default.", examples=["results"]
    )
    log_level: LogLevel = Field("WARNING", description="The least that is logged.")
    log_format: LogFormat = Field(
        "text", description="Logs as lines for people, or as one JSON object a line."
    )


class CommandSettings(FileSettings):
    """All settings: also what is ordered of one batch.

    In a file it would hold for each batch that is run there: a county would be done anew every
    time, and nobody asked before its lots become properties.
    """

    again: bool = Field(False, description="Also those that are done.")
    retry_failed: bool = Field(
        False,
        description="Also those without a result: failed, deferred, without imagery.",
    )
    all_lots: bool = Field(
        False,
        description="Every lot of the county becomes a property; asks first, with the number.",
    )
    yes: bool = Field(False, description="Go on without asking, whatever the number.")


_VARIABLES = {"home": "LOTLINE_HOME"}


def env_variable(name: str) -> str:
    """The environment's variable for a setting."""
    return _VARIABLES.get(name, name.upper())


def settings_file(environment: Mapping[str, str] = os.environ) -> SettingsFile:
    """What `lotline.toml` sets, where there is one.

    Raises:
        SettingsError: it cannot be read, or says what no setting knows.
    """
    orders = CommandSettings.model_fields.keys() - FileSettings.model_fields.keys()
    return read_settings_file(environment, FileSettings, orders)


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an environment over those of its file; an empty variable is not set.

    Raises:
        SettingsError: the file or a variable is wrong.
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
        said = (
            f"{env_variable(str(problem['loc'][0]))}{problem_text(problem)}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise SettingsError("\n".join(said)) from None
    if settings.database_url:
        redactor.add_secrets(secrets_of_address(settings.database_url))
    return settings.model_copy(update={"home": settings.home.absolute()})
