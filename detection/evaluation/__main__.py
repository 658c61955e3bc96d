"""Evaluate one segmenter on traced windows: `python -m detection.evaluation --help`.

Prints JSON. `lotline evaluate` compares several, and writes a report with pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from detection.errors import DetectionError
from detection.evaluation.evaluate import Evaluation, evaluate_segmenter


def main() -> int:
    """Print the figures of one segmenter; 2 if it cannot be evaluated."""
    parser = argparse.ArgumentParser(prog="python -m detection.evaluation", description=__doc__)
    add = parser.add_argument
    add("--truth", type=Path, required=True, help="folder of windows.json and class codes")
    add("--imagery", type=Path, required=True, action="append", help="folder of tiles; repeatable")
    add("--segmenter", required=True, help="its name")
    add("--weights", help="a folder or file of weights")
    add("--tiles", action="append", default=[], help="name or pattern, riverside_*; repeatable")
    add("--nir", action="store_true", help="let the segmenter see near infrared too")
    add("--gsd", type=float, help="resample the tiles to this ground sample distance in metres")
    add("--lots", type=Path, help="GeoJSON or lots.json: adds the errors of lawn areas")
    add("--absent-prompts", action="store_true", help="also ask for things that are not there")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="lotline-evaluation-") as scratch:
            evaluation = Evaluation.open(
                arguments.truth, arguments.imagery, Path(scratch), arguments.tiles, arguments.lots
            )
            figures = evaluate_segmenter(
                evaluation, arguments.segmenter, arguments.weights,
                nir=arguments.nir, gsd_m=arguments.gsd,
                absent_prompts=arguments.absent_prompts,
            ).figures  # fmt: skip
    except DetectionError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps(figures, indent=2))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
