"""Which segmenters and training tiers fit into this machine's memory.

A need has two figures: what its weights, gradients and optimizer take, which is arithmetic, and the
peak that was measured with its usual sizes. Between them the sizes are halved until they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.doctor.checks import CheckRow

_GIB = float(1 << 30)
# Of SAM3 at full size; docs/training.md names the tiers.
_NETWORK = 840.4e6
_TRAINED = {"mask": 2.3e6, "heads": 15.1e6, "deep": 40.4e6, "full": _NETWORK}
# float32: a weight takes 4 bytes; if it is trained, its gradient and AdamW's two moments 12 more.
_WEIGHT_BYTES, _TRAINED_BYTES = 4, 12


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The memory that something takes, in GiB.

    Attributes:
        least_gib: below this it cannot run, whatever is halved.
        peak_gib, peak_of: measured, and what was measured; None where nothing was.
        on_gpu_only: whether a CPU is far too slow for it.
    """

    name: str
    least_gib: float
    peak_gib: float | None
    peak_of: str = ""
    on_gpu_only: bool = False


def _tier(name: str, peak_gib: float | None, peak_of: str = "") -> MemoryNeed:
    least = (_NETWORK * _WEIGHT_BYTES + _TRAINED[name] * _TRAINED_BYTES) / _GIB
    return MemoryNeed(f"tier {name}", round(least, 1), peak_gib, peak_of, on_gpu_only=True)


SEGMENTER_NEEDS = (
    MemoryNeed("fits landcover", 1.1, 1.1, "lotline batch"),
    MemoryNeed(
        "fits sam3", round(_NETWORK * _WEIGHT_BYTES / _GIB, 1), 23.2,
        "16 chips and 4 prompts at once on an H200", on_gpu_only=True,
    ),
)  # fmt: skip
TIER_NEEDS = (
    MemoryNeed("tier landcover-decoder", 1.1, 1.1, "batch 8 on a CPU"),
    # The mask decoder is a part of the heads, so it takes no more.
    _tier("mask", 10.4, "heads with batch 8 on an H200, encoder cached"),
    _tier("heads", 10.4, "batch 8 on an H200, encoder cached"),
    _tier("deep", None),
    _tier("full", 27.9, "batch 2 on an H200"),
)


def fit_rows(
    needs: Sequence[MemoryNeed], gpu_free_gib: float | None, gpu: str, memory_free_gib: float
) -> list[CheckRow]:
    """A row for each need.

    Args:
        gpu_free_gib: of the GPU with the most free memory; None without one.
        gpu: its name.
        memory_free_gib: of the machine.
    """
    return [_fit_row(need, gpu_free_gib, gpu, memory_free_gib) for need in needs]


def _fit_row(
    need: MemoryNeed, gpu_free_gib: float | None, gpu: str, memory_free_gib: float
) -> CheckRow:
    peak = "its peak was not measured"
    if need.peak_gib is not None:
        peak = f"a peak of {need.peak_gib:g} GiB was measured ({need.peak_of})"
    least = f"at least {need.least_gib:g} GiB"
    if gpu_free_gib is None and need.on_gpu_only:
        found = f"too slow on a CPU; a GPU needs {least}; {peak}"
        return CheckRow(need.name, "warning", found, "Use a machine with a GPU")
    free_gib = memory_free_gib if gpu_free_gib is None else gpu_free_gib
    free = f"{free_gib:.1f} GiB free on {gpu or 'this machine'}"
    if need.peak_gib is not None and free_gib >= need.peak_gib:
        return CheckRow(need.name, "ok", f"fits: {free}; {peak}")
    if free_gib >= need.least_gib:
        found = f"may fit, with its batch halved until it does: {free}, needs {least}; {peak}"
        return CheckRow(need.name, "ok", found)
    found = f"does not fit: {free}, needs {least}"
    return CheckRow(need.name, "warning", found, "Stop other processes, or use a larger GPU")
