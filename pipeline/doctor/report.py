"""All checks of a report, in the order in which people read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.doctor import machine, packages, services, torch_probe
from pipeline.doctor.checks import CheckRow, DoctorCheck, run_checks
from pipeline.doctor.fits import SEGMENTER_NEEDS, TIER_NEEDS, fit_rows
from pipeline.settings import Settings

_ALL_WEIGHTS_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """What to look at.

    Attributes:
        counties: whose servers are asked; empty for those of the registry file.
        offline: send nothing over the network, but to the database.
    """

    settings: Settings
    registry: Path | None = None
    counties: tuple[str, ...] = field(default=())
    offline: bool = False


def doctor_rows(request: DoctorRequest) -> Iterator[CheckRow]:
    """The rows of the report, each as soon as those before it are there."""
    settings = request.settings
    registry = request.registry or settings.registry
    yield from run_checks([
        DoctorCheck("python", machine.python_rows),
        DoctorCheck("extras", packages.extra_rows),
        DoctorCheck("cpu", machine.cpu_rows),
        DoctorCheck("memory", machine.memory_rows),
        DoctorCheck("disk", lambda: machine.disk_rows(settings.home), needed=True,
                    advice="LOTLINE_HOME may be on a network disk that does not answer"),
        DoctorCheck("torch", _compute_rows, limit_s=2 * torch_probe.TORCH_LIMIT_S, needed=True),
        DoctorCheck("segmenters", lambda: torch_probe.segmenter_rows(settings),
                    limit_s=_ALL_WEIGHTS_LIMIT_S, needed=True),
        DoctorCheck("database", lambda: services.database_rows(settings), limit_s=150.0,
                    needed=True, advice="lotline db stop, then run lotline doctor again"),
        DoctorCheck("registry", lambda: services.county_rows(
                        request.counties, registry, offline=request.offline),
                    limit_s=60.0, needed=True, advice="Pass --offline to leave the servers out"),
        DoctorCheck("s3", lambda: services.s3_rows(offline=request.offline), limit_s=60.0),
    ])  # fmt: skip


def _compute_rows() -> list[CheckRow]:
    facts = torch_probe.compute_facts()
    state = machine.memory_state()
    memory_gib = state.free_gib if state is not None else 0.0
    needs = (*SEGMENTER_NEEDS, *TIER_NEEDS)
    return [*facts.rows, *fit_rows(needs, facts.free_gib, facts.gpu, memory_gib)]
