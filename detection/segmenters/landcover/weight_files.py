"""The files of landcover's weights, known without torch."""

from __future__ import annotations

from pathlib import Path

from detection.errors import WeightsMissing

WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "config.json"
FOLDER_HAS = f"The folder of landcover's weights has {WEIGHTS_NAME} and {CONFIG_NAME}"


def check_weights_folder(folder: Path) -> None:
    """Check that a folder has the files of weights, without reading them.

    Raises:
        WeightsMissing: it does not.
    """
    for name in (WEIGHTS_NAME, CONFIG_NAME):
        if not (folder / name).is_file():
            raise WeightsMissing(f"{folder / name} does not exist. {FOLDER_HAS}")
