"""Strips on their way: read, shown to a segmenter, measured; and made anew where they are lost."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError, RayError, RayTaskError

from detection.chip_plan import ChipKey
from pipeline.batch.engines.ray.chip_batch_tasks import ChipBatchTask
from pipeline.batch.engines.ray.segmenter_pool import BATCHES_AHEAD, SegmenterActor, SegmenterPool
from pipeline.batch.engines.ray.task_errors import LOST, task_error
from pipeline.batch.engines.ray.telemetry import WorkerTelemetry
from pipeline.batch.engines.ray.workers import SegmentReport, measure_strip
from pipeline.batch.stages import PendingOutcome

log = logging.getLogger(__name__)

Ref = ObjectRef[Any]

# References to what was seen of the last chips: neighbouring chunks share those along their edge.
_RECENT_CHIPS = 512
# Batches, for each worker, whose lots may wait to be measured.
_UNMEASURED_BATCHES = 2


@dataclass
class ResultPart:
    """What becomes of some lots, or where that lies; `piece` makes it anew where it is lost."""

    settling: list[PendingOutcome] | Ref
    lots: int
    piece: ChipBatchTask | None = None


class Scheduler:
    """The way of strips to what becomes of their lots. Its state is all in the driver.

    Args:
        recipe: a reference to it.
        read: begins to read the chips of places.
        chips_per_batch: that a segmenter is best given together.

    Attributes:
        first: of the chips that a segmenter was shown.
    """

    def __init__(
        self,
        recipe: Ref,
        pool: SegmenterPool,
        read: Callable[[Sequence[ChipKey]], Ref],
        chips_per_batch: int,
    ) -> None:
        self._recipe = recipe
        self._pool = pool
        self._read = read
        self._at_once = chips_per_batch
        self._measure: Any = ray.remote(measure_strip).options(num_returns=2, max_retries=0)
        self._waiting: deque[ChipBatchTask] = deque()
        self._lost: deque[ChipBatchTask] = deque()
        self._shown: dict[Ref, tuple[SegmenterActor, int]] = {}
        self._measured: dict[Ref, tuple[ChipBatchTask, Ref]] = {}
        self._recent: OrderedDict[ChipKey, Ref] = OrderedDict()
        self._chips_on_their_way = 0
        self._told = WorkerTelemetry()
        self._parts: list[ResultPart] = []
        self.first: SegmentReport | None = None

    @property
    def refs(self) -> list[Ref]:
        """What is waited for."""
        return [*self._shown, *self._measured]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way, nor waits to be."""
        return not (self._waiting or self._lost or self._shown or self._measured)

    @property
    def wants_more(self) -> bool:
        """Whether more strips should be at hand, so that no segmenter has to wait for them."""
        waiting = sum(len(piece.strip.chip_keys) for piece in self._waiting)
        return waiting < BATCHES_AHEAD * self._at_once * len(self._pool.members)

    def take(self, pieces: Sequence[ChipBatchTask]) -> None:
        """More strips, in their order."""
        self._waiting.extend(pieces)

    def take_parts(self) -> list[ResultPart]:
        """What became of lots since this was last asked."""
        parts, self._parts = self._parts, []
        return parts

    def take_told(self) -> WorkerTelemetry:
        """What workers told since this was last asked."""
        told, self._told = self._told, WorkerTelemetry()
        return told

    def leave(self) -> None:
        """Forget what has not been shown to a segmenter."""
        self._waiting.clear()
        self._lost.clear()

    def go_on(self, *, more_comes: bool) -> None:
        """Send on their way as many strips as there is room for.

        Args:
            more_comes: soon, so that a batch that is not full may wait for it.
        """
        room = (BATCHES_AHEAD + _UNMEASURED_BATCHES) * self._at_once * len(self._pool.members)
        while self._lost or self._waiting:
            alone = bool(self._lost)
            member = self._pool.free(alone=alone)
            if member is None or (not alone and self._chips_on_their_way >= room):
                return
            if alone:
                self._send([self._lost.popleft()], member)
            elif self._is_full() or not (more_comes and member.batches):
                self._send(self._batch(), member)
            else:
                return

    def arrived(self, ref: Ref) -> None:
        """Something that was waited for is there, or lost."""
        if ref in self._shown:
            self._on_shown(ref, *self._shown.pop(ref))
        else:
            self._on_measured(ref, *self._measured.pop(ref))

    def lose(self, piece: ChipBatchTask) -> None:
        """What was made of a strip is lost: it is made anew, by itself."""
        self._told.counters.faults["strip lost"] += 1
        for plan in piece.strip.plans:
            for place in plan.chip_keys:
                self._recent.pop(place, None)
        if piece.is_hopeless:
            log.warning("a strip of %d lots was lost too often: given up", len(piece.lots))
            self._parts.append(ResultPart(piece.crashed(), len(piece.lots)))
        else:
            self._lost.extend(piece.again())

    def _is_full(self) -> bool:
        chips = 0
        for piece in self._waiting:
            chips += len(piece.strip.chip_keys)
            if chips >= self._at_once:
                return True
        return False

    def _batch(self) -> list[ChipBatchTask]:
        """The next strips, as many as are looked at together; at least one."""
        batch = [self._waiting.popleft()]
        chips = len(batch[0].strip.chip_keys)
        while self._waiting and chips + len(self._waiting[0].strip.chip_keys) <= self._at_once:
            batch.append(self._waiting.popleft())
            chips += len(batch[-1].strip.chip_keys)
        return batch

    def _send(self, batch: list[ChipBatchTask], member: SegmenterActor) -> None:
        """All stages of a batch at once: Ray begins each when what it needs is there."""
        views: dict[ChipKey, Ref] = {}
        to_read: list[list[ChipKey]] = []
        unknown: set[ChipKey] = set()
        for piece in batch:
            # What was lost may lie in what is still held.
            known = {} if piece.losses else self._recent
            views |= {place: known[place] for place in piece.strip.chip_keys if place in known}
            new = [it for it in piece.strip.chip_keys if it not in views and it not in unknown]
            if new:
                to_read.append(new)
                unknown.update(new)
        if to_read:
            views |= self._show(batch, member, to_read)
        for piece in batch:
            self._measure_lots(piece, {place: views[place] for place in piece.strip.chip_keys})

    def _show(
        self, batch: list[ChipBatchTask], member: SegmenterActor, to_read: list[list[ChipKey]]
    ) -> dict[ChipKey, Ref]:
        places = [place for mine in to_read for place in mine]
        segment = member.actor.segment.options(num_returns=1 + len(places))
        shown, *seen = segment.remote(self._recipe, *map(self._read, to_read))
        member.batches += 1
        member.is_alone = any(piece.losses for piece in batch)
        self._shown[shown] = (member, member.worker)
        views = dict(zip(places, seen, strict=True))
        self._recent |= views
        while len(self._recent) > _RECENT_CHIPS:
            self._recent.popitem(last=False)
        return views

    def _measure_lots(self, piece: ChipBatchTask, views: dict[ChipKey, Ref]) -> None:
        needed = piece.looks.add(piece.strip, views)
        if piece.strip.plans:
            told, settling = self._measure.remote(
                self._recipe, piece.strip, piece.lots, tuple(needed), *needed.values()
            )
            self._measured[told] = (piece, settling)
            self._chips_on_their_way += len(piece.strip.chip_keys)

    def _on_shown(self, ref: Ref, member: SegmenterActor, worker: int) -> None:
        is_same = member.worker == worker
        if is_same:
            member.batches -= 1
            member.is_alone = False
        try:
            shown: SegmentReport = ray.get(ref)
        except RayError as error:
            # Whoever needs what it should have seen is told so, too, and does what is to be done.
            is_actor_lost = isinstance(error, RayActorError) and not isinstance(error, RayTaskError)
            if is_actor_lost and is_same:
                log.warning("a worker with the segmenter was lost: another takes its place")
                self._told.counters.faults["segmenter lost"] += 1
                self._pool.replace(member)
        else:
            self._told.add(shown.told)
            if shown.told.counters.encoder_calls and self.first is None:
                self.first = shown

    def _on_measured(self, ref: Ref, piece: ChipBatchTask, settling: Ref) -> None:
        self._chips_on_their_way -= len(piece.strip.chip_keys)
        try:
            self._told.add(ray.get(ref))
        except LOST as error:
            log.info("a strip of %d lots was lost: %s", len(piece.lots), task_error(error))
            self.lose(piece)
        except RayError as error:
            raise task_error(error) from error
        else:
            self._parts.append(ResultPart(settling, len(piece.lots), piece))
