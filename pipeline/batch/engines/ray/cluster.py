"""The Ray cluster that a run works on: one that is there, or one of this machine alone."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.exceptions import RayError, RpcError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.batch.engines.ray.task_errors import task_error
from pipeline.batch.engines.ray.workers import check_machine
from pipeline.batch.run_context import RunContext
from pipeline.errors import ClusterError

_CONNECT_S = 5.0
_DEFAULT_PORT = 6379


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Be connected with the cluster at `address` (HOST:PORT, or "auto").

    Without one it is of this machine alone, and ends with the block. Where the caller is connected
    with a cluster already, that one is used.

    Raises:
        ClusterError: it cannot be reached, or runs other versions of Ray or Python.
    """
    if ray.is_initialized():
        yield
        return
    local = address in {None, "", "local"}
    if not local:
        _check_address(str(address))
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # What Ray has to say of a lost worker would be printed among our results: we log it ourselves.
    ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(
            address="local" if local else address,
            configure_logging=False,
            log_to_driver=False,
            include_dashboard=False if local else None,
        )
    except (OSError, RuntimeError, ValueError) as error:
        where = "on this machine" if local else f"at {address}"
        raise ClusterError(
            f"the Ray cluster {where} cannot be used: {_first_line(error)}: it must run Ray "
            f"{ray.__version__} with the same Python as here; see docs/ray.md"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts its own in its place
    try:
        yield
    finally:
        ray.shutdown()


def machines() -> list[dict[str, Any]]:
    """What Ray knows of the machines that are alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def check_machines(recipe: RunContext) -> None:
    """See that every machine has what the stages need there.

    Raises:
        ClusterError: one has not; it is named.
    """
    addresses = {node["NodeManagerAddress"] for node in machines()}
    if len(addresses) > 1 and is_of_this_machine(recipe.database_url):
        raise ClusterError(
            f"the cluster has {len(addresses)} machines, but the database can be reached from "
            "this one alone: set DATABASE_URL to a PostGIS that all of them reach, such as "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        )
    check: Any = ray.remote(check_machine)
    asked = {}
    for node in machines():
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ref = check.options(num_cpus=0, max_retries=3, scheduling_strategy=there).remote(recipe)
        asked[ref] = node["NodeManagerHostname"]
    for ref, name in asked.items():
        try:
            found = ray.get(ref).version
        except RayError as error:
            raise task_error(error) from error
        if found != version("lotline"):
            raise ClusterError(
                f"lotline {found} is installed on {name}, but here {version('lotline')}: install "
                "the same on all machines of the cluster"
            )


def is_of_this_machine(database_url: str) -> bool:
    """Whether an address of a database means another one, or none, on another machine."""
    parts = urlsplit(database_url)
    host = parts.hostname or (parse_qs(parts.query).get("host") or [""])[0]
    return not host or host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}


def _check_address(address: str) -> None:
    """Find in seconds what Ray finds in minutes; where no Ray listens, in less than one minute."""
    if address == "auto":
        return
    cure = (
        "RAY_ADDRESS is HOST:PORT of the cluster's head, as `ray start --head` says it; without "
        "it the run stays on this machine"
    )
    if "://" in address:
        raise ClusterError(
            f"RAY_ADDRESS={address} is of a Ray client: start the run on a machine of the cluster "
            f"(`ray submit`, see docs/ray.md). {cure}"
        )
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ClusterError(f"RAY_ADDRESS={address} names no port, which is a number: {cure}")
    try:
        socket.create_connection((host or address, int(port)), _CONNECT_S).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster answers at {address} ({error}): {cure}") from error
    try:
        GcsClient(address=address)
    except RpcError as error:
        raise ClusterError(f"what listens at {address} is no Ray cluster's head: {cure}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
