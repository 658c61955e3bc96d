"""Train the tiny SAM3 of the tests, from nothing, on synthetic neighbourhoods, on a CPU.

    .venv/bin/python scripts/train_tiny_sam3.py            # about 20 minutes on two cores
    .venv/bin/python scripts/train_tiny_sam3.py --measure  # only evaluate the existing weights

Writes weights, configuration and measured.json (accuracy on lots that it was not trained on) into
detection/segmenters/sam3/tiny. The code is in detection/training and detection/evaluation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from detection.evaluation.sample_county import write_evaluation
from detection.training.train_tiny import STEPS, save_weights, train

TINY = Path(__file__).resolve().parent.parent / "detection" / "segmenters" / "sam3" / "tiny"


def main() -> int:
    """Train, save, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=TINY)
    parser.add_argument("--measure", action="store_true", help="only evaluate existing weights")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training: dict[str, Any] | None = None
    if not arguments.measure:
        started, cpu_started = time.monotonic(), time.process_time()
        model = train(arguments.steps, _print_progress)
        training = {
            "steps": arguments.steps,
            "threads": arguments.threads,
            "wall_s": round(time.monotonic() - started),
            "cpu_s": round(time.process_time() - cpu_started),
        }
        save_weights(model, arguments.out)
    print(json.dumps(write_evaluation(arguments.out, training), indent=2))
    return 0


def _print_progress(step: int, seconds: float, terms: dict[str, float]) -> None:
    shown = "  ".join(f"{name} {value:.3f}" for name, value in terms.items())
    print(f"{step:5d}  {seconds:5.0f} s  {shown}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
