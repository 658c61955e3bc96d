"""`python -m pipeline.doctor.probe`: looks at torch or at weights, in a process of its own.

A driver that hangs, a library that crashes and a network that is too large for the memory end this
process, and not the report. It reads a JSON list from standard input, ["torch"] or pairs of a
segmenter's name and the source of its weights, and prints a line of JSON for each.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

_GIB = float(1 << 30)


def main() -> None:
    """Answer what standard input asks for."""
    for asked in json.load(sys.stdin):
        answer = torch_facts() if asked == "torch" else weights_facts(*asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def torch_facts() -> dict[str, Any]:
    """The build of torch, and each GPU with its free memory."""
    import torch

    mps = torch.backends.mps.is_available()
    facts: dict[str, Any] = {
        "torch": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
        "mps": mps, "threads": torch.get_num_threads(), "gpus": [], "error": "",
    }  # fmt: skip
    try:
        # An old driver is a warning of is_available, and an error here.
        if torch.version.cuda or torch.version.hip:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
            capability = f"{properties.major}.{properties.minor}"
            facts["gpus"].append({
                "name": properties.name, "capability": capability,
                "free_gib": free / _GIB, "total_gib": total / _GIB,
                "bf16": torch.cuda.is_bf16_supported(),
            })  # fmt: skip
    except (RuntimeError, AssertionError) as error:
        facts["error"] = " ".join(str(error).split())
    return facts


def weights_facts(name: str, source: str | None) -> dict[str, Any]:
    """Whether a segmenter's weights load strictly; how large they are."""
    from detection.errors import DetectionError

    started_s = time.perf_counter()
    facts: dict[str, Any] = {"name": name, "sha256": None, "error": ""}
    try:
        facts |= _loaded(name, source)
    except (DetectionError, OSError, MemoryError) as error:
        facts["error"] = str(error) or type(error).__name__
    return facts | {"seconds": round(time.perf_counter() - started_s, 1)}


def _loaded(name: str, source: str | None) -> dict[str, Any]:
    from detection.segmenters import WITHOUT_WEIGHTS, build_segmenter

    segmenter = build_segmenter(name, source)
    if name not in WITHOUT_WEIGHTS and segmenter.weights_sha256 is None:
        return {"error": "loaded, but without a hash"}
    return {"sha256": segmenter.weights_sha256, "device": segmenter.device}


if __name__ == "__main__":
    main()
