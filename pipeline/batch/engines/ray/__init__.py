"""Several machines: the stages of a run on a Ray cluster, which places and starts all workers.

    survey (one worker) │ read (tasks) │ segment (a worker on each GPU) │ measure (tasks) │ write

What is large (pixels, masks) goes from worker to worker through Ray's object store, and never
through the driver, which knows references to it. So many strips are on their way, and no more.

Whatever is lost with a worker or a machine is made anew from the strip's plan by another one, and
counted as a fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from detection.segmenters.interface import Segmenter
from pipeline.batch.engine import Engine, EngineRuntime
from pipeline.batch.run_context import RunContext
from pipeline.errors import ClusterError


@contextmanager
def ray_runtime(
    build: Callable[[], Segmenter], address: str | None = None, gpus_per_worker: float = 1.0
) -> Iterator[EngineRuntime]:
    """The Ray cluster at `address` (HOST:PORT, "auto"), or one of this machine for the block.

    Args:
        gpus_per_worker: 1 for a GPU each, 0.5 where two workers share one.

    Raises:
        ClusterError: Ray is not installed, the cluster cannot be used, or none of its workers can
            load the segmenter.
        SegmenterError: the segmenter cannot be built, on this machine.
    """
    # Ray reads these when it is imported: it is to report nothing to its makers, and a cluster of
    # one machine (of any system, though the name says otherwise) is to listen on loopback alone.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    if not address:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        from pipeline.batch.engines.ray.cluster import check_machines, cluster
        from pipeline.batch.engines.ray.engine import RayEngine
        from pipeline.batch.engines.ray.segmenter_pool import SegmenterPool
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ClusterError("ENGINE=ray needs Ray: install lotline[ray]") from error

    def engine(recipe: RunContext) -> Engine:
        check_machines(recipe)
        return RayEngine(recipe, pool)

    with cluster(address), SegmenterPool(build, gpus_per_worker) as pool:
        yield EngineRuntime(pool.facts(), pool.prepare, engine)
