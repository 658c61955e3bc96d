"""Segmenters with registered weights: strictly checked before anything uses them.

A segmenter counts as loaded once its files have the registered hashes, its network took every
tensor, it reports the registered hash, and it answers on a known chip.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from detection.errors import DetectionError
from detection.segmenters.calibrated_scores import with_thresholds
from pipeline.errors import ModelError
from pipeline.store.database import open_engine
from pipeline.store.models.answer_check import LabelShares, check_answers
from pipeline.store.models.load_events import record_load
from pipeline.store.models.model_files import fetch_files
from pipeline.store.models.versions import ModelFacts, ModelVersion
from pipeline.store.models.weights_source import build_with

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter

log = logging.getLogger(__name__)

MODEL_CACHE: Final = "models"
"""The folder below LOTLINE_HOME that has fetched weights."""

BuildWithWeights = Callable[[str | None], "Segmenter"]
"""Builds a segmenter with the registered weights of a folder, as `build_with` does."""

UNUSABLE: Final = (ModelError, DetectionError)
"""What weights raise that will not be better at the next attempt."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A segmenter that is ready.

    Attributes:
        version: its weights; None for the package's own.
        shares: what it found on the known chip.
        took_s: how long fetching, building and checking took.
    """

    segmenter: Segmenter
    version: ModelVersion | None
    shares: LabelShares
    took_s: float

    @property
    def described(self) -> str:
        """Its weights, for people."""
        return describe(self.version)


def describe(version: ModelVersion | None) -> str:
    """Weights, for people."""
    return "the package's own weights" if version is None else f"model {version.id}"


def build_promoted(
    facts: ModelFacts, cache: Path, build: BuildWithWeights | None = None
) -> Segmenter:
    """Fetch the weights and build their segmenter with its thresholds; it must report their hash.

    Raises:
        ModelError: the files are missing or damaged, or have other weights.
        ObjectStoreError: they cannot be read.
        SegmenterError: they do not fit this version of the segmenter.
    """
    build = build or partial(build_with, facts.segmenter)
    segmenter = build(str(fetch_files(facts, cache)))
    if segmenter.weights_sha256 != facts.weights_sha256:
        raise ModelError(
            f"the registered weights of {facts.segmenter} have the hash "
            f"{(segmenter.weights_sha256 or 'none')[:12]}, not {facts.weights_sha256[:12]}: go "
            f"back with `lotline models rollback {facts.segmenter}`"
        )
    return with_thresholds(segmenter, facts.thresholds)


def load_model(
    version: ModelVersion | None,
    cache: Path,
    build: BuildWithWeights,
    before: LabelShares | None = None,
) -> LoadedModel:
    """Build a segmenter and check its answers.

    Args:
        before: what the weights that it would replace found on the known chip.

    Raises:
        ModelError, SegmenterError: the weights cannot be used.
        ObjectStoreError: they cannot be read.
    """
    started_s = time.perf_counter()
    segmenter = build(None) if version is None else build_promoted(version.facts, cache, build)
    shares = _checked(segmenter, version, before)
    return LoadedModel(segmenter, version, shares, time.perf_counter() - started_s)


def _checked(
    segmenter: Segmenter, version: ModelVersion | None, before: LabelShares | None
) -> LabelShares:
    """What it finds on the known chip. Weights that nobody promoted are used whatever they find."""
    try:
        return check_answers(segmenter, before)
    except ModelError as error:
        if version is not None:
            raise
        log.warning("the weights of %s before any promotion: %s", segmenter.name, error)
        return {}


def load_first_good(
    champions: Sequence[ModelVersion],
    cache: Path,
    build: BuildWithWeights,
    on_failure: Callable[[ModelVersion, Exception], None],
) -> LoadedModel:
    """Load the champion; where it cannot be used, the one before it; at last the package's own.

    Args:
        champions: the champion, then those before it, the newest first.
        on_failure: called for each that cannot be used.

    Raises:
        ModelError, SegmenterError: nor can the package's own.
        ObjectStoreError: files cannot be read now: they may be good, so nothing older is used.
    """
    for version in champions:
        try:
            return load_model(version, cache, build)
        except UNUSABLE as error:
            on_failure(version, error)
    return load_model(None, cache, build)


def check_usable(version: ModelVersion, champions: Sequence[ModelVersion], cache: Path) -> None:
    """Check weights before they are promoted, against those in use.

    Args:
        champions: see `load_first_good`.

    Raises:
        ModelError, SegmenterError: they cannot be used.
        ObjectStoreError: they cannot be read.
    """
    build = partial(build_with, version.facts.segmenter)
    before = load_first_good(champions, cache, build, lambda *_: None)
    load_model(version, cache, build, before.shares)


@dataclass(frozen=True, slots=True)
class ChampionBuilder:
    """Builds a segmenter with its champion's weights, in whatever process needs it.

    It can be sent to another process: all that get it build the same.

    Attributes:
        champions: see `load_first_good`.
        cache: of each machine's files.
        database_url: where failures are recorded.
        base: see `build_with`: the same in all processes.
    """

    segmenter: str
    champions: tuple[ModelVersion, ...]
    cache: Path
    database_url: str = field(repr=False)
    base: str | None = None

    def __call__(self) -> Segmenter:
        """Build it.

        Raises:
            ModelError, SegmenterError, ObjectStoreError: see `load_first_good`.
        """
        build = partial(build_with, self.segmenter, base=self.base)
        return load_first_good(self.champions, self.cache, build, self._failed).segmenter

    def description(self, weights_sha256: str | None) -> str:
        """What a process built, for people; and what it should have, where it is something else."""
        used = next(
            (each for each in self.champions if each.facts.weights_sha256 == weights_sha256), None
        )
        if used == self.champions[0]:
            return f"{self.segmenter} has the weights of model {used.id}, its champion"
        return (
            f"model {self.champions[0].id}, the champion of {self.segmenter}, cannot be used: this "
            f"batch has {describe(used)}. `lotline models show {self.champions[0].id}` says why"
        )

    def _failed(self, version: ModelVersion, error: Exception) -> None:
        log.error("model %d of %s cannot be used: %s", version.id, self.segmenter, error)
        engine = open_engine(self.database_url)
        try:
            with engine.begin() as conn:
                record_load(conn, self.segmenter, version.id, "failed", str(error))
        except SQLAlchemyError as problem:
            log.warning("that model %d failed is not recorded: %s", version.id, problem)
        finally:
            engine.dispose()
