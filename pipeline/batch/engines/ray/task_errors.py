"""What Ray says of a call that brought no result: it was lost, or it failed."""

from __future__ import annotations

import re

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from detection.errors import DetectionError
from parcels.errors import ParcelsError
from pipeline.errors import ClusterError, PipelineError

# A worker or a machine is gone, and with it what it had made or was making.
LOST = (
    WorkerCrashedError,
    RayActorError,
    ObjectLostError,
    NodeDiedError,
    OutOfMemoryError,
    LocalRayletDiedError,
)


# As Ray writes it into the text of the errors that tasks raise.
_MISSING = re.compile(r"No module named '[^']+'")
_MACHINE = re.compile(r"\bip=([0-9A-Fa-f.:]+)")


def task_error(error: RayError) -> Exception:
    """The error that a stage raised; it names the machine where that is not this one."""
    text = str(error)
    named = _MACHINE.search(text)
    machine = named[1] if named else "a machine of the cluster"
    cause = error.cause if isinstance(error, RayTaskError) else None
    if missing := _MISSING.search(text):
        return ClusterError(
            f"on {machine}: {missing[0]}: install the same lotline[ray] on all machines of the "
            "cluster"
        )
    if isinstance(cause, DetectionError | ParcelsError | PipelineError):
        return cause if machine == _this_machine() else ClusterError(f"on {machine}: {cause}")
    if isinstance(cause, Exception) and not isinstance(cause, RayError):
        return cause
    return ClusterError(f"Ray, on {machine}: {text.strip().splitlines()[-1]}")


def _this_machine() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
