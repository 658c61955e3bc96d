"""Fuzz one reader in this process: `python -m fuzz.worker TARGET FOLDER SECONDS SEED`, from tests/.

Each input is in FOLDER before it is read, so that a crash or a hang leaves it there. A fault is
kept in FOLDER/faults with its traceback, as small as Hypothesis can make it, one for each place in
the code. The last line printed is JSON: inputs, refused, faults.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

ROOT = Path(__file__).resolve().parents[2]
# A read that takes longer hangs. Inputs are a few kilobytes.
MAX_SECONDS_EACH = 60
MAX_MEMORY_BYTES = 6 * 2**30
INPUTS_PER_ROUND = 200


def main() -> None:
    from fuzz.targets import TARGETS, is_refused

    name, out, seconds, first_seed = sys.argv[1:]
    target = TARGETS[name]
    folder = Path(out)
    faults = folder / "faults"
    faults.mkdir(parents=True, exist_ok=True)
    path = folder / f"input{target.suffix}"
    logging.disable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    counts = {"inputs": 0, "refused": 0}
    known: set[str] = {fault.stem for fault in faults.glob("*.txt")}

    def read(data: bytes) -> None:
        counts["inputs"] += 1
        path.write_bytes(data)
        faulthandler.dump_traceback_later(MAX_SECONDS_EACH, exit=True)
        try:
            counts["refused"] += is_refused(target, path)
        except Exception as error:  # what the product's commands do not expect
            place = _place(error)
            if place in known:
                return
            (faults / f"{place}{target.suffix}").write_bytes(data)
            (faults / f"{place}.new").write_text(traceback.format_exc())
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()

    end = time.monotonic() + float(seconds)
    round_seed = int(first_seed)
    while time.monotonic() < end:
        fuzz = settings(
            max_examples=INPUTS_PER_ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(seed(round_seed)(given(target.inputs)(read)))
        try:
            fuzz()
        except Exception:  # Hypothesis raises what `read` has kept
            for fault in faults.glob("*.new"):
                known.add(fault.stem)
                fault.rename(fault.with_suffix(".txt"))
        round_seed += 1
    path.unlink(missing_ok=True)
    sys.stdout.write(json.dumps({**counts, "faults": sorted(known)}) + "\n")


def _place(error: BaseException) -> str:
    """The exception's type, and the last line of the product's code in its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(ROOT) and ".venv" not in frame.filename
    ]
    frame = own[-1] if own else frames[-1]
    return f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.name.strip('<>')}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    main()
