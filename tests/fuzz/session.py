"""Fuzz readers in processes of their own, each for some seconds, and count what they found.

    python -m fuzz.session [--minutes 1] [--seed 1] [--target NAME] [--out FOLDER]   (from tests/)

A process that crashes or hangs is a fault; another continues with the next seed.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Of the worker's start and its last round, beyond the seconds that it is given.
_MORE_SECONDS = 600


@dataclass(slots=True)
class Found:
    """What fuzzing a reader found; `faults` are the names of files in FOLDER/faults."""

    inputs: int
    refused: int
    faults: list[str]


def fuzz(target: str, folder: Path, seconds: float, seed: int) -> Found:
    """Fuzz one reader for about `seconds`; faults are kept in `folder/faults`."""
    found = Found(0, 0, [])
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        command = [sys.executable, "-m", "fuzz.worker", target, folder, f"{left:.0f}", str(seed)]
        done = subprocess.run(
            [str(part) for part in command],
            cwd=TESTS,
            capture_output=True,
            text=True,
            check=False,
            timeout=left + _MORE_SECONDS,
        )
        if done.returncode == 0:
            counts = json.loads(done.stdout.splitlines()[-1])
            found.inputs += counts["inputs"]
            found.refused += counts["refused"]
            break
        _keep_crash(folder, done.returncode, done.stderr)
        seed += 1_000_000  # the same inputs would crash again
    found.faults = sorted(fault.stem for fault in (folder / "faults").glob("*.txt"))
    return found


def _keep_crash(folder: Path, code: int, said: str) -> None:
    """Keep the input that a worker was reading when it ended."""
    faults = folder / "faults"
    faults.mkdir(parents=True, exist_ok=True)
    why = signal.Signals(-code).name if code < 0 else f"exit-{code}"
    name = f"{why}-{len(list(faults.glob('*.txt')))}"
    for left in folder.glob("input*"):
        left.rename(faults / f"{name}{left.suffix}")
    (faults / f"{name}.txt").write_text(said)


def main() -> None:
    from fuzz.targets import TARGETS

    names = list(TARGETS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=names, action="append")
    parser.add_argument("--out", type=Path, default=TESTS.parent / "out" / "fuzz")
    args = parser.parse_args()
    faults = 0
    for name in args.target or names:
        found = fuzz(name, args.out.resolve() / name, 60.0 * args.minutes, args.seed)
        faults += len(found.faults)
        counts = f"{found.inputs:8,} inputs, {found.refused:8,} refused"
        sys.stdout.write(f"{name:16} {counts} {' '.join(found.faults)}\n")
        sys.stdout.flush()
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
