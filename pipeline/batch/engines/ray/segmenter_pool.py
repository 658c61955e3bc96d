"""The workers that hold the segmenter: one on each GPU, or on each share of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from detection.labels import Label
from detection.segmenters.interface import Segmenter
from pipeline.batch.engines.ray.cluster import machines
from pipeline.batch.engines.ray.task_errors import LOST, task_error
from pipeline.batch.engines.ray.workers import SegmentWorker, WorkerInfo
from pipeline.batch.run_context import SegmenterInfo
from pipeline.errors import ClusterError

log = logging.getLogger(__name__)

# While a batch of chips is looked at, the next ones are read and brought to the segmenter.
BATCHES_AHEAD = 3
# A worker that dies as often while it loads the segmenter will not do better.
_MOST_DEATHS = 3
# An autoscaler needs minutes for a machine; after this it is said that one is waited for.
_SAY_AFTER_S = 30.0


@dataclass
class SegmenterActor:
    """A worker with the segmenter.

    Attributes:
        batches: that it has been given and has not answered.
        is_there: whether it can be given more; not while Ray starts it.
        is_alone: what it has must be alone with it: a batch that was lost before.
        worker: its number; one that takes its place has another.
        deaths: one after the other, without anything done between them.
    """

    actor: Any
    batches: int = 0
    is_there: bool = False
    is_alone: bool = False
    worker: int = 0
    deaths: int = 0


class SegmenterPool:
    """As many workers as the cluster has GPUs, or shares of one; some on CPUs where it has none.

    Args:
        gpus_per_worker: 1 for a GPU each, 0.5 where two share one, 2 where one takes two.

    Raises:
        ClusterError: a share that is none.
    """

    def __init__(self, build: Callable[[], Segmenter], gpus_per_worker: float) -> None:
        looker: Any = ray.remote(SegmentWorker)
        count, options = actor_slots(gpus_per_worker)
        self._looker = looker.options(**options)
        self._build = build
        self._coming: dict[ObjectRef[Any], SegmenterActor] = {}
        self._facts: SegmenterInfo | None = None
        self.members = [self._begin(SegmenterActor(None)) for _ in range(count)]

    def __enter__(self) -> SegmenterPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The workers end, whatever they have in hand."""
        for member in self.members:
            ray.kill(member.actor)

    @property
    def coming(self) -> list[ObjectRef[Any]]:
        """Ready when a worker is there."""
        return list(self._coming)

    def facts(self) -> SegmenterInfo:
        """Of the segmenter, as soon as one worker has loaded it.

        Raises:
            ClusterError: a worker cannot load it, or no two have the same.
        """
        waited = False
        while self._facts is None:
            ready, _ = ray.wait(self.coming, timeout=_SAY_AFTER_S)
            for ref in ready:
                self.arrive(ref)
            if not ready and not waited:
                log.warning(
                    "no worker has loaded the segmenter yet: its weights are large, or the "
                    "cluster has no %s free (`ray status` tells)", "GPU or CPU",
                )  # fmt: skip
                waited = True
        return self._facts

    def prepare(self, labels: Sequence[Label]) -> None:
        """See `Segmenter.prepare`; on one worker, the others do it when they begin.

        Raises:
            ClusterError: a prompt that it cannot read.
        """
        [there, *_] = [member for member in self.members if member.is_there]
        try:
            ray.get(there.actor.prepare.remote(tuple(labels)))
        except RayError as error:
            raise task_error(error) from error

    def arrive(self, ref: ObjectRef[Any]) -> None:
        """A worker that was waited for is there."""
        member = self._coming.pop(ref)
        try:
            facts, present = ray.get(ref)
        except LOST as error:
            member.deaths += 1
            if member.deaths < _MOST_DEATHS:
                self._begin(member)
            else:
                self._drop(member, error)
            return
        except RayError as error:
            raise task_error(error) from error
        self._check(facts, present)
        member.is_there = True
        member.deaths = 0

    def free(self, *, alone: bool) -> SegmenterActor | None:
        """Who may be given a batch now: who has the fewest; None where all have enough."""
        most = 0 if alone else BATCHES_AHEAD - 1
        free = [
            each
            for each in self.members
            if each.is_there and not each.is_alone and each.batches <= most
        ]
        return min(free, key=lambda each: each.batches, default=None)

    def replace(self, member: SegmenterActor) -> None:
        """It is lost: another worker takes its place, wherever Ray finds one for it.

        It is not Ray that starts the same one again: that fails calls meanwhile, and goes on for
        ever with one that dies each time.
        """
        ray.kill(member.actor)
        self._begin(member)

    def _begin(self, member: SegmenterActor) -> SegmenterActor:
        member.actor = self._looker.remote(self._build)
        member.is_there = member.is_alone = False
        member.batches = 0
        member.worker += 1
        self._coming[member.actor.load.remote()] = member
        return member

    def _drop(self, member: SegmenterActor, error: RayError) -> None:
        log.warning("a worker died each time that it loaded the segmenter: %s", task_error(error))
        self.members.remove(member)
        if not self.members:
            raise ClusterError(
                "every worker died while it loaded the segmenter; is there memory enough, on the "
                f"machine and on its GPU? {task_error(error)}"
            ) from error

    def _check(self, facts: SegmenterInfo, present: WorkerInfo) -> None:
        if self._facts is None:
            self._facts = facts
        elif facts != self._facts:
            raise ClusterError(
                f"{present.where} has another segmenter than the other machines ({facts.name}, "
                f"weights {facts.weights_sha256}, not {self._facts.name}, weights "
                f"{self._facts.weights_sha256}): give all of them the same weights"
            )


def actor_slots(gpus_per_worker: float) -> tuple[int, dict[str, float]]:
    """How many workers, and what each asks for."""
    share = gpus_per_worker
    if not (0 < share <= 1 or (share > 1 and share == int(share))):
        raise ClusterError(
            f"RAY_GPUS_PER_WORKER={share:g}: write 1 for a GPU each, a share such as 0.5 where "
            "workers share one, or a whole number"
        )
    resources = [node["Resources"] for node in machines()]
    gpus = [int(each.get("GPU", 0)) for each in resources]
    if any(gpus):
        count = sum(int(each // share if share >= 1 else each * (1 // share)) for each in gpus)
        if not count:
            raise ClusterError(
                f"RAY_GPUS_PER_WORKER={share:g}, but no machine has more than {max(gpus)}"
            )
        # Its CPUs are for the other stages: what holds a GPU hardly uses one.
        return count, {"num_gpus": share, "num_cpus": 0}
    half = int(sum(each.get("CPU", 0) for each in resources)) // 2
    return max(half, 1), {"num_cpus": min(half, 1)}
