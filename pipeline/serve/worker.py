"""A worker: its settings, where it writes results, and the segmenter that it loads at its start."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast, get_args

from detection.segmenters import DEFAULT_SEGMENTER, SEGMENTERS, build_segmenter, check_segmenter
from pipeline.errors import SettingsError
from pipeline.log import LogFormat, LogLevel
from pipeline.settings import Settings, load_settings
from pipeline.store.models.answer_check import check_answers
from pipeline.store.models.champion_file import read_champion
from pipeline.store.models.promoted_segmenter import MODEL_CACHE, build_promoted
from pipeline.store.models.weights_source import build_with, is_exact
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter
    from pipeline.store.models.versions import ModelFacts

RESULTS: Final = "LOTLINE_RESULTS"
CHAMPION: Final = "LOTLINE_CHAMPION"
ALLOW_PRIVATE: Final = "LOTLINE_ALLOW_PRIVATE"
_WORK: Final = "LOTLINE_WORK"
_YES: Final = ("1", "true", "yes", "on")
_NO: Final = ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of a worker, which all come from its environment.

    Attributes:
        results: where jobs write, `s3://bucket/prefix` or a folder.
        champion: the address of a champion file; None takes the database's champion.
        allow_private: whether images may be on loopback or in private ranges.
        work: the folder for files of running jobs; None is the system's.
        common: those that commands have too.
    """

    results: str
    segmenter: str
    champion: str | None
    allow_private: bool
    work: Path | None
    log_level: LogLevel
    log_format: LogFormat
    common: Settings = field(repr=False)


@dataclass(frozen=True, slots=True)
class Worker:
    """What jobs use.

    Attributes:
        chosen_segmenter: its name in the settings.
        sam3_weights: what the training of sam3-decoder begins with; None is its default.
        turn: held while the segmenter works, as it answers one job at a time.
    """

    objects: ObjectStore
    segmenter: Segmenter
    chosen_segmenter: str
    allow_private: bool
    work: Path | None
    sam3_weights: str | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def weights_sha256(self) -> str | None:
        """The hash of the loaded weights; None for a segmenter without weights."""
        return self.segmenter.weights_sha256


def worker_settings(environment: Mapping[str, str]) -> WorkerSettings:
    """The settings of an environment.

    Raises:
        SettingsError: one is missing or wrong.
    """
    results = environment.get(RESULTS, "").strip()
    if not results:
        raise SettingsError(
            f"{RESULTS} is not set: write where jobs put their results, such as s3://bucket/prefix"
        )
    segmenter = environment.get("SEGMENTER", "").strip() or DEFAULT_SEGMENTER
    if segmenter not in SEGMENTERS:
        raise SettingsError(f"SEGMENTER={segmenter}: choose from {', '.join(SEGMENTERS)}")
    allow = environment.get(ALLOW_PRIVATE, "").strip().lower()
    if allow not in (*_YES, *_NO):
        raise SettingsError(f"{ALLOW_PRIVATE}={allow}: write 1 or 0")
    level = environment.get("LOG_LEVEL", "").strip().upper() or "INFO"
    form = environment.get("LOG_FORMAT", "").strip() or "text"
    if level not in get_args(LogLevel) or form not in get_args(LogFormat):
        raise SettingsError(
            f"LOG_LEVEL={level}, LOG_FORMAT={form}: choose from {', '.join(get_args(LogLevel))}, "
            f"and from {', '.join(get_args(LogFormat))}"
        )
    work = environment.get(_WORK, "").strip()
    return WorkerSettings(
        results, segmenter, environment.get(CHAMPION, "").strip() or None, allow in _YES,
        Path(work) if work else None, cast(LogLevel, level), cast(LogFormat, form),
        load_settings(environment),
    )  # fmt: skip


def start_worker(settings: WorkerSettings) -> Worker:
    """Open the store and load the weights: of the champion, else those that the settings name.

    Raises:
        SettingsError: the folder for running jobs cannot be made.
        ObjectStoreError, StoreError, ModelError: the champion cannot be read.
        SegmenterError: the weights cannot be loaded.
    """
    objects = open_objects(settings.results)
    if settings.work is not None:
        try:
            settings.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{_WORK}: {settings.work} cannot be made ({error})") from error
    return Worker(
        objects, _segmenter(settings), settings.segmenter, settings.allow_private, settings.work,
        settings.common.sam3_weights,
    )  # fmt: skip


def _segmenter(settings: WorkerSettings) -> Segmenter:
    weights = settings.common.weights_of(settings.segmenter)
    is_named = is_exact(settings.segmenter, weights)
    if not is_named and (facts := _champion(settings)) is not None:
        build = partial(build_with, settings.segmenter, base=weights)
        promoted = build_promoted(facts, settings.common.home / MODEL_CACHE, build)
        check_answers(promoted)
        return promoted
    check_segmenter(settings.segmenter, weights)
    return build_segmenter(settings.segmenter, weights)


def _champion(settings: WorkerSettings) -> ModelFacts | None:
    """The champion of the file that is named, or of the database; None for the package's own."""
    if settings.champion is not None:
        return read_champion(settings.champion, settings.segmenter)
    if settings.common.database_url is None:
        return None
    from pipeline.store.database import open_database
    from pipeline.store.models.versions import champion

    with (
        open_database(settings.common.database_url, settings.common.home) as database,
        database.engine.connect() as conn,
    ):
        found = champion(conn, settings.segmenter)
    return None if found is None else found.facts
