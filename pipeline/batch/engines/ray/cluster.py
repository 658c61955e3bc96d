"""Connect to a Ray cluster, or start one on this machine; check its machines."""

from __future__ import annotations

import shlex
import signal
import socket
import sys
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
from pipeline.batch.stage_context import StageContext
from pipeline.errors import ClusterError

_CONNECT_TIMEOUT_S = 5.0


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Stay connected to the cluster at `address` (HOST:PORT, or "auto") for the block.

    Without an address, a cluster of this machine alone runs until the block ends. If the caller
    is connected to a cluster already, that one is used.

    Raises:
        ClusterError: the cluster is unreachable, or runs other versions of Ray or Python.
    """
    if ray.is_initialized():
        yield
        return
    local = address in {None, "", "local"}
    if local:
        _check_folder(sys.executable)
    else:
        _check_address(str(address))
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # Ray would print its messages about lost workers between our results: we log them ourselves.
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
            f"{ray.__version__} and the same Python as this machine; see docs/ray.md"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced the handler
    try:
        yield
    finally:
        ray.shutdown()


def alive_machines() -> list[dict[str, Any]]:
    """Ray's description of each machine that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def check_machines(context: StageContext) -> None:
    """Check that every machine has what the stages need.

    Raises:
        ClusterError: a machine lacks something; the message names both.
    """
    addresses = {node["NodeManagerAddress"] for node in alive_machines()}
    if len(addresses) > 1 and is_local_database(context.database_url):
        raise ClusterError(
            f"the cluster has {len(addresses)} machines, but the database is reachable from this "
            "one only: set DATABASE_URL to a PostGIS that all of them reach, such as "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        )
    check: Any = ray.remote(check_machine)
    checks = {}
    for node in alive_machines():
        on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ref = check.options(num_cpus=0, max_retries=3, scheduling_strategy=on_node).remote(context)
        checks[ref] = node["NodeManagerHostname"]
    for ref, hostname in checks.items():
        try:
            installed = ray.get(ref).version
        except RayError as error:
            raise task_error(error) from error
        if installed != version("lotline"):
            raise ClusterError(
                f"{hostname} has lotline {installed}, but this machine has {version('lotline')}: "
                "install the same version on all machines of the cluster"
            )


def is_local_database(database_url: str) -> bool:
    """Whether a database URL has another meaning, or none, on another machine."""
    parts = urlsplit(database_url)
    host = parts.hostname or (parse_qs(parts.query).get("host") or [""])[0]
    return not host or host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}


def _check_folder(python: str) -> None:
    """Ray puts the path of Python into a command for a shell."""
    if shlex.quote(python) != python:
        raise ClusterError(
            f"ENGINE=ray cannot start workers with {python}: a shell would take a part of its path "
            "for a command. Install Lotline in a folder with letters, digits and ./_- in its path, "
            "or use ENGINE=local"
        )


def _check_address(address: str) -> None:
    """Find in seconds what takes Ray minutes to find."""
    if address == "auto":
        return
    remedy = (
        "RAY_ADDRESS is HOST:PORT of the cluster's head, as `ray start --head` prints it; without "
        "it the run stays on this machine"
    )
    if "://" in address:
        raise ClusterError(
            f"RAY_ADDRESS={address} is the address of a Ray client: start the run on a machine of "
            f"the cluster (`ray submit`, see docs/ray.md). {remedy}"
        )
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ClusterError(f"RAY_ADDRESS={address} has no port number: {remedy}")
    try:
        socket.create_connection((host or address, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster responds at {address} ({error}): {remedy}") from error
    try:
        GcsClient(address=address)
    except RpcError as error:
        raise ClusterError(f"the server at {address} is not a Ray head: {remedy}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
