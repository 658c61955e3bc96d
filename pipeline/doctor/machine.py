"""Python, processor, memory and disk. A container's limits count, not the host's size."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.doctor.checks import CheckLevel, CheckRow

GIB = float(1 << 30)
_MIN_PYTHON = (3, 11)
# Flags of /proc/cpuinfo, x86 and ARM.
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
# `lotline batch` with landcover peaks at 1.1 GiB (docs/benchmarks.md), PostgreSQL beside it.
_MIN_MEMORY_GIB, _GOOD_MEMORY_GIB = 1.5, 4.0
_MIN_DISK_GIB, _GOOD_DISK_GIB = 1.0, 10.0
# A limit above this is none: cgroup v1 writes a huge number.
_NO_LIMIT_BYTES = 1 << 60
_SHOWN_PACKAGES = ("torch", "transformers", "numpy", "rasterio", "shapely", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class MemoryState:
    """Memory of this process's machine or container, in GiB."""

    total_gib: float
    free_gib: float
    limited_by: str


def python_rows() -> list[CheckRow]:
    """Python and the versions of packages."""
    python = platform.python_version()
    needed = ".".join(map(str, _MIN_PYTHON))
    rows = [
        CheckRow("python", "ok", f"{python}, lotline {_version('lotline')}, {sys.executable}")
        if sys.version_info >= _MIN_PYTHON
        else CheckRow("python", "problem", f"{python} is too old", f"Install Python {needed}")
    ]
    found = ", ".join(f"{name} {_version(name)}" for name in _SHOWN_PACKAGES)
    return [*rows, CheckRow("packages", "ok", found)]


def cpu_rows() -> list[CheckRow]:
    """Cores that this process may use, and whether bf16 is fast on them."""
    cores = usable_cores()
    flags = cpu_flags(_read(Path("/proc/cpuinfo")))
    found = [name for name in _BF16_FLAGS if name in flags]
    if found:
        bf16 = f"bf16 instructions ({found[0]}): train with --set autocast=bf16"
    elif flags:
        bf16 = "no bf16 instructions: train in float32, the default"
    else:
        bf16 = "bf16 instructions unknown"
    return [CheckRow("cpu", "ok", f"{cores:g} cores ({platform.machine()}), {bf16}")]


def memory_rows() -> list[CheckRow]:
    """Free memory."""
    state = memory_state()
    if state is None:
        return [CheckRow("memory", "warning", "cannot be read on this system")]
    found = f"{state.free_gib:.1f} of {state.total_gib:.1f} GiB free ({state.limited_by})"
    if state.free_gib >= _GOOD_MEMORY_GIB:
        return [CheckRow("memory", "ok", found)]
    level: CheckLevel = "warning" if state.free_gib >= _MIN_MEMORY_GIB else "problem"
    cure = "Stop other processes, or raise the container's memory limit"
    return [CheckRow("memory", level, f"{found}; a batch needs about 1.1 GiB", cure)]


def disk_rows(home: Path) -> list[CheckRow]:
    """Free disk at the folders that Lotline writes to, each file system once."""
    rows: list[CheckRow] = []
    seen: dict[int, str] = {}
    for name, folder in disk_folders(home, os.environ).items():
        existing = _existing(folder)
        device = existing.stat().st_dev
        writable = os.access(existing, os.W_OK | os.X_OK)
        if device in seen and writable:
            continue
        seen[device] = name
        rows.append(_disk_row(name, folder, existing, writable=writable))
    return rows


def disk_folders(home: Path, environment: Mapping[str, str]) -> dict[str, Path]:
    """Where Lotline and its libraries write."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "LOTLINE_HOME": home,
        "kept views of training": home / "views",
        "HF_HOME": Path(environment.get("HF_HOME") or cache / "huggingface"),
        "the current folder": Path.cwd(),
        "TMPDIR": Path(tempfile.gettempdir()),
    }


def _disk_row(name: str, folder: Path, existing: Path, *, writable: bool) -> CheckRow:
    free_gib = shutil.disk_usage(existing).free / GIB
    found = f"{free_gib:.1f} GiB free at {name} ({folder})"
    needed = name == "LOTLINE_HOME"
    elsewhere = f"set {name} to another disk" if name.isupper() else "work on another disk"
    if name.startswith("kept views"):
        elsewhere = "train with --set cache=DIR on another disk"
    if not writable:
        cure = f"Make {existing} writable, or {elsewhere}"
        return CheckRow("disk", "problem" if needed else "warning", f"{found}, read-only", cure)
    if free_gib >= _GOOD_DISK_GIB:
        return CheckRow("disk", "ok", found)
    cure = f"Free disk space, or {elsewhere}"
    level: CheckLevel = "problem" if needed and free_gib < _MIN_DISK_GIB else "warning"
    return CheckRow("disk", level, found, cure)


def usable_cores() -> float:
    """Cores that this process may use: its affinity and the container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = float(len(affinity(0)) if affinity is not None else os.cpu_count() or 1)
    quota = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(quota) == 2 and quota[0].isdecimal() and int(quota[1]):
        cores = min(cores, round(int(quota[0]) / int(quota[1]), 1))
    return cores


def cpu_flags(cpuinfo: str) -> set[str]:
    """The instruction sets in the text of /proc/cpuinfo."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(line[1].split()) if line else set()


def memory_state(root: Path = Path("/")) -> MemoryState | None:
    """Memory by /proc/meminfo and the cgroup's limit, v2 or v1; None where there is neither."""
    sizes = {
        name: int(kib) << 10
        for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", _read(root / "proc/meminfo"), re.M)
    }
    if "MemTotal" not in sizes:
        return _memory_of_sysconf()
    total, free, by = sizes["MemTotal"], sizes.get("MemAvailable", sizes["MemTotal"]), "machine"
    for limit, used, reclaimable in _cgroup_limits(root):
        if limit < min(total, _NO_LIMIT_BYTES):
            total, by = limit, "container's limit"
            free = min(free, max(0, limit - used + reclaimable))
    return MemoryState(total / GIB, free / GIB, by)


def _cgroup_limits(root: Path) -> Iterable[tuple[int, int, int]]:
    """(limit, used, page cache that can be dropped) in bytes of each cgroup that limits us."""
    path = next(
        (line.partition("::")[2] for line in _read(root / "proc/self/cgroup").splitlines()
         if line.startswith("0::")), "",
    )  # fmt: skip
    base = root / "sys/fs/cgroup"
    folder = base / path.strip("/")
    for each in (folder, *folder.parents):
        if not each.is_relative_to(base):
            break
        yield from _limit(each, "memory.max", "memory.current", "inactive_file")
    v1 = base / "memory"
    yield from _limit(v1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _limit(folder: Path, limit: str, used: str, cache: str) -> Iterable[tuple[int, int, int]]:
    limit_text, used_text = _read(folder / limit).strip(), _read(folder / used).strip()
    if limit_text.isdecimal() and used_text.isdecimal():
        dropped = re.search(rf"^{cache} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
        yield int(limit_text), int(used_text), int(dropped[1]) if dropped else 0


def _memory_of_sysconf() -> MemoryState | None:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (ValueError, OSError):
        return None
    return MemoryState(total, total, "machine; how much is free is unknown")


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
