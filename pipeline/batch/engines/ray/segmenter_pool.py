"""The pool of segmenter actors: one for each GPU, or for each share of a GPU."""

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
from pipeline.batch.engines.ray.cluster import alive_machines
from pipeline.batch.engines.ray.task_errors import LOST, task_error
from pipeline.batch.engines.ray.workers import SegmentWorker, WorkerInfo
from pipeline.batch.stage_context import SegmenterInfo
from pipeline.errors import ClusterError

log = logging.getLogger(__name__)

# Inference calls in flight on one actor: the next chips are read while it segments.
MAX_CALLS_PER_ACTOR = 3
# Consecutive deaths while loading the segmenter, after which an actor is given up.
_MAX_DEATHS = 3
# An autoscaler needs minutes to start a machine; after this time a message explains the wait.
_MESSAGE_AFTER_S = 30.0


@dataclass
class SegmenterActor:
    """A Ray actor with the segmenter.

    Attributes:
        handle: Ray's handle of the current actor.
        calls: inference calls in flight.
        is_ready: whether it accepts calls; not while it starts.
        is_exclusive: whether its call must be the only one: a retry of a lost chip batch.
        generation: counts the actors that took this place.
        deaths: consecutive deaths while it loaded the segmenter.
    """

    handle: Any
    calls: int = 0
    is_ready: bool = False
    is_exclusive: bool = False
    generation: int = 0
    deaths: int = 0


class SegmenterPool:
    """One actor for each GPU of the cluster or share of one; without GPUs, some on CPUs.

    Args:
        gpus_per_worker: 1 for one GPU each, 0.5 if two share one, 2 if one takes two.

    Raises:
        ClusterError: `gpus_per_worker` is not valid.
    """

    def __init__(self, build_segmenter: Callable[[], Segmenter], gpus_per_worker: float) -> None:
        actor_class: Any = ray.remote(SegmentWorker)
        count, options = actor_slots(gpus_per_worker)
        self._actor_class = actor_class.options(**options)
        self._build_segmenter = build_segmenter
        self._starting: dict[ObjectRef[Any], SegmenterActor] = {}
        self._segmenter_info: SegmenterInfo | None = None
        self.actors = [self._start(SegmenterActor(None)) for _ in range(count)]

    def __enter__(self) -> SegmenterPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill all actors, with the calls in flight."""
        for actor in self.actors:
            ray.kill(actor.handle)

    @property
    def starting(self) -> list[ObjectRef[Any]]:
        """One reference for each actor that starts; see `on_started`."""
        return list(self._starting)

    def segmenter_info(self) -> SegmenterInfo:
        """Wait until an actor has loaded the segmenter.

        Raises:
            ClusterError: an actor cannot load it, or two have loaded different ones.
        """
        is_reported = False
        while self._segmenter_info is None:
            ready, _ = ray.wait(self.starting, timeout=_MESSAGE_AFTER_S)
            for ref in ready:
                self.on_started(ref)
            if not ready and not is_reported:
                log.warning(
                    "no worker has loaded the segmenter yet: its weights are large, or the "
                    "cluster has no free GPU or CPU; `ray status` shows which"
                )
                is_reported = True
        return self._segmenter_info

    def prepare(self, labels: Sequence[Label]) -> None:
        """See `Segmenter.prepare`; on one actor, the others do it before their first inference.

        Raises:
            ClusterError: a prompt that the segmenter cannot read.
        """
        [actor, *_] = [each for each in self.actors if each.is_ready]
        try:
            ray.get(actor.handle.prepare.remote(tuple(labels)))
        except RayError as error:
            raise task_error(error) from error

    def on_started(self, ref: ObjectRef[Any]) -> None:
        """Handle an actor that has loaded the segmenter, or died while loading it."""
        actor = self._starting.pop(ref)
        try:
            segmenter_info, worker = ray.get(ref)
        except LOST as error:
            actor.deaths += 1
            if actor.deaths < _MAX_DEATHS:
                self._start(actor)
            else:
                self._give_up(actor, error)
            return
        except RayError as error:
            raise task_error(error) from error
        self._check(segmenter_info, worker)
        actor.is_ready = True
        actor.deaths = 0

    def pick(self, *, alone: bool) -> SegmenterActor | None:
        """The actor with the fewest calls in flight; None if all are busy.

        Args:
            alone: it must have no other call.
        """
        max_calls = 0 if alone else MAX_CALLS_PER_ACTOR - 1
        free = [
            actor
            for actor in self.actors
            if actor.is_ready and not actor.is_exclusive and actor.calls <= max_calls
        ]
        return min(free, key=lambda actor: actor.calls, default=None)

    def replace(self, actor: SegmenterActor) -> None:
        """Start another actor for a lost one, wherever Ray finds the resources.

        Ray's own restart would fail all calls until it is done, and would go on for ever with an
        actor that dies each time.
        """
        ray.kill(actor.handle)
        self._start(actor)

    def _start(self, actor: SegmenterActor) -> SegmenterActor:
        actor.handle = self._actor_class.remote(self._build_segmenter)
        actor.is_ready = actor.is_exclusive = False
        actor.calls = 0
        actor.generation += 1
        self._starting[actor.handle.load.remote()] = actor
        return actor

    def _give_up(self, actor: SegmenterActor, error: RayError) -> None:
        log.warning("a worker died each time it loaded the segmenter: %s", task_error(error))
        self.actors.remove(actor)
        if not self.actors:
            raise ClusterError(
                "every worker died while it loaded the segmenter: check that the machine and its "
                f"GPU have enough memory. {task_error(error)}"
            ) from error

    def _check(self, info: SegmenterInfo, worker: WorkerInfo) -> None:
        expected = self._segmenter_info
        if expected is None:
            self._segmenter_info = info
        elif info != expected:
            raise ClusterError(
                f"{worker.hostname} has another segmenter than the other machines ({info.name}, "
                f"weights {info.weights_sha256}, not {expected.name}, weights "
                f"{expected.weights_sha256}): give all machines the same weights"
            )


def actor_slots(gpus_per_worker: float) -> tuple[int, dict[str, float]]:
    """The number of actors, and the resources that each one requests of Ray."""
    share = gpus_per_worker
    if not (0 < share <= 1 or (share > 1 and share == int(share))):
        raise ClusterError(
            f"RAY_GPUS_PER_WORKER={share:g} is not valid: write 1 for one GPU each, a share such "
            "as 0.5 if workers share a GPU, or an integer"
        )
    resources = [node["Resources"] for node in alive_machines()]
    gpus = [int(each.get("GPU", 0)) for each in resources]
    if any(gpus):
        count = sum(int(each // share if share >= 1 else each * (1 // share)) for each in gpus)
        if not count:
            raise ClusterError(
                f"RAY_GPUS_PER_WORKER={share:g}, but no machine has more than {max(gpus)}"
            )
        # No CPU: the other stages need them, and an actor with a GPU hardly uses one.
        return count, {"num_gpus": share, "num_cpus": 0}
    half = int(sum(each.get("CPU", 0) for each in resources)) // 2
    return max(half, 1), {"num_cpus": min(half, 1)}
