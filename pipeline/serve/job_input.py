"""What a job asks for, validated: a job may name addresses, and no file of the worker."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from detection.errors import TrainingError
from detection.registry.imagery_url import cog_url
from detection.training.recipes import RECIPE_NAMES
from detection.training.settings import duration_s
from parcels.untrusted import sanitize_text
from pipeline.errors import JobError

SAM3_DECODER: Final = "sam3-decoder"
_LANDCOVER_DECODER: Final = "landcover-decoder"
_MAX_IMAGES: Final = 500
_MAX_LABELS: Final = 50
_S3: Final = "s3://"
# Of a presigned URL: they change with each signature, and are secrets.
_SIGNATURE = re.compile(
    r"^(x-(amz|goog|oss|cos)-.*|signature|sig|se|sp|sv|sr|st|spr|sks|skoid|sktid|skt|ske|skv"
    r"|expires|awsaccesskeyid|googleaccessid|key-pair-id|policy|.*(token|secret|api_?key).*)$",
    re.IGNORECASE,
)


def _address(text: str) -> str:
    text = text.strip()
    if text.startswith(_S3):
        return cog_url(text)
    parts = urlsplit(text)
    _ = parts.port
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an address: https://…, or s3://bucket/key")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address must not have a user name or a password")
    return text


def _bucket_address(text: str) -> str:
    text = text.strip().rstrip("/")
    if not text.startswith(_S3):
        raise ValueError("write s3://bucket/…")
    return cog_url(text)


def _duration(text: str) -> str:
    try:
        duration_s(text)
    except TrainingError as error:
        raise ValueError(str(error)) from error
    return text


def _setting_value(value: str | int | float | bool) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[\w.,+-]{1,200}", text):
        raise ValueError("a value has letters, digits and . , + - _ only")
    return text


Address = Annotated[str, Field(max_length=4000), AfterValidator(_address)]
BucketAddress = Annotated[str, Field(max_length=1000), AfterValidator(_bucket_address)]
Duration = Annotated[str, Field(max_length=20), AfterValidator(_duration)]
JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_Words = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]


class _JobInput(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    job_id: JobId | None = None


class DetectJobInput(_JobInput):
    """Labels on images; the fields are the options of `lotline detect`."""

    type: Literal["detect"]
    images: Annotated[tuple[Address, ...], Field(min_length=1, max_length=_MAX_IMAGES)]
    labels: Annotated[_Words, Field(max_length=_MAX_LABELS)] = ()
    prompts: Annotated[_Words, Field(max_length=_MAX_LABELS)] = ()
    gsd_m: Annotated[float, Field(ge=0.001, le=100)] | None = None
    bands: Annotated[_Words, Field(max_length=20)] = ()
    crs: Annotated[str, Field(pattern=r"^EPSG:\d{4,6}$")] | None = None

    def canonical(self) -> dict[str, Any]:
        """What the results depend on."""
        content = self.model_dump(exclude={"job_id"})
        return content | {"images": [public_address(each) for each in self.images]}


class TrainJobInput(_JobInput):
    """A training on exported corrections; the fields are the options of `lotline train`.

    Attributes:
        corrections: the manifest of an export, or the folder that has it.
        tier: of sam3-decoder.
        rehearsal: of landcover-decoder: the windows of its first training (pack.npz), so that
            nothing is forgotten.
        time_limit: after which the job saves and ends; the same job_id continues it.
        settings: of the trainer and the recipe, as `--set`.
    """

    type: Literal["train"]
    what: Literal[RECIPE_NAMES]  # type: ignore[valid-type]
    corrections: BucketAddress
    tier: Literal["mask", "heads", "deep", "full"] | None = None
    rehearsal: BucketAddress | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    length: Duration | None = None
    time_limit: Duration | None = None
    settings: dict[
        Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")],
        Annotated[str | int | float | bool, AfterValidator(_setting_value)],
    ] = {}

    @model_validator(mode="after")
    def _has_options_of_its_own(self) -> Self:
        if self.tier is not None and self.what != SAM3_DECODER:
            raise ValueError(f"'tier' is of {SAM3_DECODER}")
        if self.rehearsal is not None and self.what != _LANDCOVER_DECODER:
            raise ValueError(f"'rehearsal' is of {_LANDCOVER_DECODER}")
        return self

    def canonical(self) -> dict[str, Any]:
        """What the results depend on; not the time limit, which only divides the work."""
        return self.model_dump(exclude={"job_id", "time_limit"})


JobInput = DetectJobInput | TrainJobInput
_INPUT: TypeAdapter[JobInput] = TypeAdapter(Annotated[JobInput, Discriminator("type")])
_ID: TypeAdapter[str] = TypeAdapter(JobId)


def parse_job(job: Mapping[str, Any]) -> tuple[str, JobInput]:
    """The id and the input of a job as the SDK gives it.

    The id is the input's `job_id`, so that a client can repeat a job; else the platform's.

    Raises:
        JobError: "invalid_input", with all that is wrong.
    """
    try:
        asked = _INPUT.validate_python(job.get("input"), strict=False)
        return asked.job_id or _ID.validate_python(job.get("id")), asked
    except ValidationError as error:
        problems = "; ".join(
            _problem(each) for each in error.errors(include_url=False, include_input=False)[:10]
        )
        raise JobError(
            "invalid_input", f"the input is not valid: {problems}",
            "correct the named fields; docs/serverless.md lists all of them",
        ) from None  # fmt: skip


def request_sha256(asked: JobInput) -> str:
    """A hash of all that the results depend on."""
    text = json.dumps(asked.canonical(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def public_address(address: str) -> str:
    """An address without the signature of a presigned URL and without other secrets."""
    parts = urlsplit(address)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _SIGNATURE.match(name)
    ]
    return urlunsplit(parts._replace(query=urlencode(kept), fragment=""))


def _problem(error: Mapping[str, Any]) -> str:
    places = [str(each) for each in error["loc"] if each not in ("detect", "train")]
    place = sanitize_text(".".join(places) or "the input", 100)
    return f"{place}: {sanitize_text(str(error['msg']).removeprefix('Value error, '))}"
