"""The Ray engine: the stages of a run on a cluster, whose workers Ray places and starts.

    survey (one worker) | read (tasks) | segment (one actor per GPU) | measure, write (tasks)

Pixels and masks go from worker to worker through Ray's object store; the driver only holds
references to them. The number of chip batches in flight is bounded (backpressure).

What is lost with a worker or a machine is computed again from the chip batch's plan, and counted
as a fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from detection.segmenters.interface import Segmenter
from pipeline.batch.engine import Engine, EngineRuntime
from pipeline.batch.stage_context import StageContext
from pipeline.errors import ClusterError


@contextmanager
def ray_runtime(
    build_segmenter: Callable[[], Segmenter],
    address: str | None = None,
    gpus_per_worker: float = 1.0,
) -> Iterator[EngineRuntime]:
    """Connect to the Ray cluster at `address` (HOST:PORT, or "auto"), and load the segmenter there.

    Without an address, a cluster of this machine alone runs until the block ends.

    Args:
        gpus_per_worker: 1 for one GPU each, 0.5 if two workers share one.

    Raises:
        ClusterError: Ray is not installed, the cluster cannot be used, or no worker can load the
            segmenter.
        SegmenterError: the segmenter cannot be built, on this machine.
    """
    # Ray reads these when it is imported: send no usage statistics, and let a cluster of one
    # machine listen on loopback only (on every system, in spite of the variable's name).
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    if not address:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        from pipeline.batch.engines.ray.cluster import check_machines, ray_cluster
        from pipeline.batch.engines.ray.engine import RayEngine
        from pipeline.batch.engines.ray.segmenter_pool import SegmenterPool
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ClusterError("ENGINE=ray needs Ray: install lotline[ray]") from error

    def create_engine(context: StageContext) -> Engine:
        check_machines(context)
        return RayEngine(context, pool)

    with ray_cluster(address), SegmenterPool(build_segmenter, gpus_per_worker) as pool:
        yield EngineRuntime(pool.segmenter_info(), pool.prepare, create_engine)
