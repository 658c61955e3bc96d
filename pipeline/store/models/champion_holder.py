"""Hot reload: a segmenter that stays loaded, and has the champion's weights from one piece of work
to the next.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from detection.segmenters import check_name
from pipeline.store.models.load_events import LoadOutcome, record_load
from pipeline.store.models.promoted_segmenter import (
    UNUSABLE,
    BuildWithWeights,
    LoadedModel,
    describe,
    load_first_good,
    load_model,
)
from pipeline.store.models.versions import ModelVersion, champions, newest_promotion
from pipeline.store.models.weights_source import build_with

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter

log = logging.getLogger(__name__)

# How long after weights could not be read, or there was no memory for them, they are tried again.
_RETRY_AFTER_S: Final = 60.0


class ChampionHolder:
    """A segmenter for a process that lives longer than a batch; thread-safe.

    Ask for `current` at the start of each piece of work (a batch, a click, a request), and use what
    it returns until the end: work in progress keeps its weights, and one hash is in all its rows.

    New weights are loaded and checked beside those in use, so both are in memory for a moment.
    Weights that fail are logged and recorded, and those in use stay until others are promoted.

    Args:
        database: has the promotions.
        segmenter: a name of `detection.segmenters`.
        cache: for fetched files: LOTLINE_HOME/models.
        build: builds the segmenter; `build_with` by default.
    """

    def __init__(
        self, database: Engine, segmenter: str, cache: Path, build: BuildWithWeights | None = None
    ) -> None:
        check_name(segmenter)
        self.name = segmenter
        self._database = database
        self._cache = cache
        self._build = build or partial(build_with, segmenter)
        self._loading = Lock()
        self._held: LoadedModel | None = None
        # The promotion or rollback that was dealt with last, and that whose weights failed.
        self._seen: int | None = None
        self._failed: int | None = None
        self._retry_at_s = 0.0

    def current(self) -> Segmenter:
        """The segmenter with the champion's weights.

        While one caller loads new weights, the others get those in use. If the database does not
        answer, or the new weights fail, everybody does.

        Raises:
            SQLAlchemyError, ObjectStoreError: at the first call only: nothing is loaded yet.
            ModelError, SegmenterError: at the first call only: the package's own weights fail too.
        """
        if self._held is None:
            with self._loading:
                if self._held is None:
                    self._held = self._load_first()
        elif self._loading.acquire(blocking=False):
            try:
                self._reload(self._held)
            finally:
                self._loading.release()
        return self._held.segmenter

    @property
    def version(self) -> ModelVersion | None:
        """The weights in use; None for the package's own, or before the first `current`."""
        return None if self._held is None else self._held.version

    def _load_first(self) -> LoadedModel:
        with self._database.connect() as conn:
            newest = newest_promotion(conn, self.name)
            candidates = champions(conn, self.name)
        loaded = load_first_good(candidates, self._cache, self._build, self._report_unusable)
        self._seen = newest
        if loaded.version is not None:
            self._record(loaded.version, "loaded", took_s=loaded.took_s)
        return loaded

    def _reload(self, held: LoadedModel) -> None:
        try:
            with self._database.connect() as conn:
                newest = newest_promotion(conn, self.name)
                if newest == self._seen or self._waits_to_retry(newest):
                    return
                version = next(iter(champions(conn, self.name)), None)
        except SQLAlchemyError as error:
            log.warning("which weights %s should have is not known: %s", self.name, error)
            return
        if version == held.version:
            self._seen = newest
            return
        try:
            loaded = load_model(version, self._cache, self._build, held.shares)
        except Exception as error:  # whatever it is, those in use go on
            self._keep(held, version, newest, error)
            return
        self._held, self._seen = loaded, newest
        log.info("%s has %s now, loaded in %.2f s", self.name, loaded.described, loaded.took_s)
        self._record(version, "loaded", took_s=loaded.took_s)

    def _waits_to_retry(self, newest: int | None) -> bool:
        return newest == self._failed and time.monotonic() < self._retry_at_s

    def _keep(
        self, held: LoadedModel, version: ModelVersion | None, newest: int | None, error: Exception
    ) -> None:
        log.error(
            "%s of %s cannot be used, so %s stays in use: %s",
            describe(version), self.name, held.described, error,
        )  # fmt: skip
        if newest != self._failed:
            self._record(version, "failed", str(error))
        self._failed = newest
        if isinstance(error, UNUSABLE):
            self._seen = newest
        self._retry_at_s = time.monotonic() + _RETRY_AFTER_S

    def _report_unusable(self, version: ModelVersion, error: Exception) -> None:
        log.error("model %d of %s cannot be used: %s", version.id, self.name, error)
        self._record(version, "failed", str(error))

    def _record(
        self,
        version: ModelVersion | None,
        outcome: LoadOutcome,
        detail: str = "",
        took_s: float | None = None,
    ) -> None:
        model = None if version is None else version.id
        try:
            with self._database.begin() as conn:
                record_load(conn, self.name, model, outcome, detail, took_s)
        except SQLAlchemyError as error:
            log.warning("that %s %s is not recorded: %s", describe(version), outcome, error)
