"""Errors of Ray calls: which ones mean a loss to retry, and which error a stage raised."""

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

# A worker or a machine is gone, with what it had computed or was computing.
LOST = (
    WorkerCrashedError,
    RayActorError,
    ObjectLostError,
    NodeDiedError,
    OutOfMemoryError,
    LocalRayletDiedError,
)


# How Ray writes these into the text of a task's error.
_MISSING_MODULE = re.compile(r"No module named '[^']+'")
_MACHINE_IP = re.compile(r"\bip=([0-9A-Fa-f.:]+)")


def task_error(error: RayError) -> Exception:
    """The error that a stage raised; it names the machine unless that is this one."""
    text = str(error)
    ip = _MACHINE_IP.search(text)
    machine = ip[1] if ip else "a machine of the cluster"
    cause = error.cause if isinstance(error, RayTaskError) else None
    if missing := _MISSING_MODULE.search(text):
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
