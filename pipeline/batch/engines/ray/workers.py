"""What runs on the machines of a cluster: the stages, and what each process builds for them once.

Nothing here knows of Ray, which calls these functions and classes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from sqlalchemy import Engine

from detection.chip_batches import Strip
from detection.chip_plan import Place
from detection.imagery.interface import Imagery
from detection.inference import Seen, Unseen
from detection.labels import Label
from detection.segmenters.interface import Segmenter
from parcels import ParcelBoundaryService
from pipeline.batch.engine import Settled
from pipeline.batch.engines.ray.telemetry import Told, telling
from pipeline.batch.run_context import Facts, Recipe, facts_of, kept_parcels
from pipeline.batch.stages import (
    Chips,
    Chunk,
    Lot,
    Settling,
    Surveyed,
    measure,
    read_places,
    segment,
    survey,
)
from pipeline.batch.write_stage import write
from pipeline.store.database import Database, connected

View = Seen | Unseen


@dataclass(frozen=True)
class Read:
    """The chips of a strip, on their way to the segmenter."""

    chips: Chips
    told: Told


@dataclass(frozen=True)
class Shown:
    """What a segmenter tells of chips that it was shown together."""

    told: Told
    device: str
    seconds: float


@dataclass(frozen=True)
class Present:
    """A worker that can be used.

    Attributes:
        where: its machine, in words.
        version: of the lotline that is installed there.
    """

    where: str
    version: str


class Surveyor:
    """The one process that asks the county's servers, so that their limits hold.

    Its methods may be called in several threads.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._one_at_a_time = threading.Lock()

    def stay(self) -> None:
        """Until the process ends: so is it known when it does."""
        threading.Event().wait()

    def survey(self, chunk: Chunk) -> tuple[Surveyed, Told]:
        """See `stages.survey`."""
        with telling() as told, self._one_at_a_time:
            surveyed = survey(chunk, self._recipe, self._service, self._imagery, told.tally)
        return surveyed, told

    def read(self, places: Sequence[Place]) -> Read:
        """The chips of imagery that is a server."""
        with telling() as told:
            chips = read_places(places, self._imagery, told.tally)
        return Read(chips, told)

    @cached_property
    def _service(self) -> ParcelBoundaryService:
        url = self._recipe.database_url
        kept = kept_parcels(self._recipe.county, Database(connected(url), url, None))
        return ParcelBoundaryService(self._recipe.county, kept)

    @property
    def _imagery(self) -> Imagery:
        return _here.imagery(self._recipe)


class Looker:
    """A process with the segmenter."""

    def __init__(self, build: Callable[[], Segmenter]) -> None:
        self._build = build
        self._built: Segmenter | None = None
        self._labels: tuple[Label, ...] = ()

    def load(self) -> tuple[Facts, Present]:
        """Load the segmenter, where that has not been done."""
        return facts_of(self._segmenter()), present()

    def prepare(self, labels: tuple[Label, ...]) -> None:
        """See `Segmenter.prepare`."""
        if labels != self._labels:
            self._segmenter().prepare(labels)
            self._labels = labels

    def segment(self, recipe: Recipe, *reads: Read) -> list[Shown | View]:
        """What it tells, then the views of all chips in the order of the strips and places."""
        with telling() as told:
            self.prepare(recipe.labels)
            chips = {place: chip for each in reads for place, chip in each.chips.items()}
            started_s = time.perf_counter()
            views = segment(chips, recipe, self._segmenter(), told.tally)
            seconds = time.perf_counter() - started_s
        for each in reads:
            told.add(each.told)
        shown = Shown(told, self._segmenter().device, seconds)
        return [shown, *(views[place] for each in reads for place in each.chips)]

    def _segmenter(self) -> Segmenter:
        if self._built is None:
            self._built = self._build()
        return self._built


def present() -> Present:
    """Where this process is."""
    return Present(socket.gethostname(), version("lotline"))


def check_machine(recipe: Recipe) -> Present:
    """See that a machine has what the stages need there.

    Raises:
        ImageryError: it does not have the imagery's files.
    """
    if recipe.county.imagery.path is not None:
        _here.imagery(recipe)
    return present()


def read_files(recipe: Recipe, places: Sequence[Place]) -> Read:
    """The chips of imagery that is files."""
    with telling() as told:
        chips = read_places(places, _here.imagery(recipe), told.tally)
    return Read(chips, told)


def measure_strip(
    recipe: Recipe, strip: Strip, lots: dict[int, Lot], places: Sequence[Place], *views: View
) -> tuple[Told, list[Settling]]:
    """See `stages.measure`; the views are of the places."""
    with telling() as told:
        seen = dict(zip(places, views, strict=True))
        settling = measure(strip, seen, lots, recipe, told.tally)
    return told, settling


def write_parts(
    recipe: Recipe, fetch: Callable[[], tuple[list[list[Settling]], list[int]]]
) -> tuple[list[Settled], list[int], Told]:
    """Write what can be fetched.

    Returns:
        What was written, which parts could not be fetched, and what is told.
    """
    with telling() as told:
        parts, lost = fetch()
        settling = [each for part in parts for each in part]
        written = write(settling, recipe, _here.database(recipe), told.tally) if settling else []
    return written, lost, told


class _Here:
    """What this process has made for one run; it is made anew for another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = ""
        self._imagery: Imagery | None = None
        self._database: Engine | None = None

    def imagery(self, recipe: Recipe) -> Imagery:
        with self._lock:
            self._be_for(recipe)
            if self._imagery is None:
                self._imagery = recipe.open_imagery()
            return self._imagery

    def database(self, recipe: Recipe) -> Engine:
        self._be_for(recipe)
        if self._database is None:
            self._database = connected(recipe.database_url)
        return self._database

    def _be_for(self, recipe: Recipe) -> None:
        if recipe.owner != self._owner:
            if self._database is not None:
                self._database.dispose()
            self._owner, self._imagery, self._database = recipe.owner, None, None


_here = _Here()
