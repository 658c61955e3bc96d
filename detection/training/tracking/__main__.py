"""`python -m detection.training.tracking FOLDER…` sends trainings to an MLflow server later."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from detection.errors import DetectionError
from detection.training.tracking.server import MlflowServer
from detection.training.tracking.settings import URI, tracking_settings
from detection.training.tracking.tracked_run import send_ended


def main(arguments: list[str] | None = None) -> int:
    """Send; 0 if the server has all of them, 2 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m detection.training.tracking", description=__doc__
    )
    parser.add_argument("folder", type=Path, nargs="+", help="folder of a training run")
    folders: list[Path] = parser.parse_args(arguments).folder
    try:
        settings = tracking_settings(os.environ)
        if settings is None:
            parser.error(f"{URI} is not set: set it to the address of the tracking server")
        server = MlflowServer(settings)
        for folder in folders:
            send_ended(folder, server)
            sys.stderr.write(f"{folder} is sent to {settings.uri}\n")
    except (DetectionError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
