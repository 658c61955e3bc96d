"""The images that arguments mean, each once, and the names of their results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from glob import has_magic
from pathlib import Path

from detection.image_detection.picture_file import PICTURE_SUFFIXES
from detection.imagery.path_pattern import matching_paths
from detection.imagery.raster_file import FOLDER_SUFFIXES
from parcels.untrusted import sanitize_text
from pipeline.errors import ImageListError

SUFFIXES = (*FOLDER_SUFFIXES, *PICTURE_SUFFIXES)
# Names of results; a folder may hold both them and the images.
OVERLAY_SUFFIX, MASK_SUFFIX = ".overlay.png", ".mask.tif"
# Bytes of a name, so that a result's name with a label fits into what file systems take (255).
_MAX_NAME_BYTES = 150


def find_images(arguments: Sequence[str]) -> list[Path]:
    """The files of arguments, sorted within each argument; a file with several names once.

    A folder means the images in it and in its subfolders, but for results of an earlier run; a
    glob that a shell did not expand means its matches.

    Raises:
        ImageListError: an argument that means no image.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        for path in _files_of(argument):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def result_names(images: Sequence[Path]) -> dict[Path, str]:
    """A name for the results of each image, different for all of them, also without case.

    It is the file's name without its suffix; where two files share that, the name with its
    suffix; then with as many folders in front as needed.
    """
    names = {image: _safe(image.stem) for image in images}
    for level in range(max((len(image.absolute().parts) for image in images), default=0)):
        shared = _shared(names.values())
        if not shared:
            break
        for image, name in names.items():
            if name.casefold() in shared:
                names[image] = _safe("_".join(image.absolute().parts[-1 - level :]))
    counted: Counter[str] = Counter()
    for image, name in names.items():  # names that differ only in what was replaced or cut
        counted[name.casefold()] += 1
        if (number := counted[name.casefold()]) > 1:
            names[image] = f"{name}-{number}"
    return names


def _files_of(argument: str) -> list[Path]:
    shown = sanitize_text(argument)
    path = Path(argument)
    if not argument:  # as a path, it would be the current folder
        raise ImageListError("an image argument is empty: is a variable not set?")
    if "\0" in argument:
        raise ImageListError(f"{shown}: a path has no NUL byte")
    if path.is_dir():
        files = _files_of_folder(path)
        if not files:
            raise ImageListError(
                f"no image in the folder {shown}: looked for {', '.join(SUFFIXES)}. Name the files "
                "themselves if they end otherwise"
            )
        return files
    if os.path.lexists(path):
        return [path]
    matches = [Path(match) for match in sorted(matching_paths(argument))]
    files = [match for match in matches if match.is_file() and not _is_result(match)]
    if files:
        return files
    what = "no file matches" if has_magic(argument) else "there is no file or folder"
    raise ImageListError(f"{what} {shown}")


def _files_of_folder(folder: Path) -> list[Path]:
    files: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return [
        file for file in files
        if file.suffix.lower() in SUFFIXES and file.is_file() and not _is_result(file)
    ]  # fmt: skip


def _is_result(path: Path) -> bool:
    return path.name.lower().endswith((OVERLAY_SUFFIX, MASK_SUFFIX))


def _shared(names: Iterable[str]) -> set[str]:
    counts = Counter(name.casefold() for name in names)
    return {name for name, count in counts.items() if count > 1}


def _safe(name: str) -> str:
    """A file name of printable characters; never empty, hidden, an option or too long."""
    safe = "".join(
        char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in name
    )
    encoded = safe.encode("utf-8", "replace")[-_MAX_NAME_BYTES:]
    return encoded.decode("utf-8", "ignore").lstrip("-. ") or "image"
