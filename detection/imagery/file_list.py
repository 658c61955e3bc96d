"""The imagery files that `path:` means: a file, a glob or a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from detection.errors import ImageryError
from detection.imagery.path_pattern import matching_paths
from detection.imagery.raster_file import FOLDER_SUFFIXES
from detection.imagery.unsupported_imagery import first_unsupported, what_to_do
from parcels.untrusted import sanitize_text

_CORRECT = "Correct the county's `imagery: {path: …}`"


def imagery_files(pattern: str) -> list[str]:
    """The sorted paths of at least one file.

    A folder means the imagery files in it and in its subfolders; VRTs must be named. Of a glob's
    matches, folders do not count. No symbolic link to a folder is followed below either, and a file
    with several names through symbolic links counts once.

    Raises:
        ImageryError: none.
    """
    if "\0" in pattern:
        raise ImageryError(f"{sanitize_text(pattern)}: a path has no NUL byte. {_CORRECT}")
    path = Path(pattern)
    if path.is_file():  # a file name with brackets is not a glob
        return [pattern]
    if path.suffix.lower() == ".gdb" and path.is_dir():
        raise ImageryError(f"{pattern}: {what_to_do(path)}")
    if path.is_dir():
        return _files_of_folder(path)
    matches = matching_paths(pattern)
    files = _each_once(match for match in matches if not Path(match).is_dir())
    if files:
        return files
    folder = next((Path(match) for match in matches), None)
    if folder is not None:
        raise ImageryError(
            f"no imagery file matches {pattern}, only folders such as {folder}. To read the files "
            f"in them, write {pattern.rstrip('/')}/*.tif in the county's `imagery: {{path: …}}`"
        )
    raise ImageryError(f"no imagery file matches {pattern}. {_CORRECT}")


def _files_of_folder(folder: Path) -> list[str]:
    files: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(parent, name) for name in names + folders if not name.startswith(".")]
    found = [str(f) for f in files if f.suffix.lower() in FOLDER_SUFFIXES and f.is_file()]
    if found:
        return _each_once(sorted(found))
    wanted = ", ".join(FOLDER_SUFFIXES)
    vrt = next((f for f in files if f.suffix.lower() == ".vrt"), None)
    if vrt is not None:
        raise ImageryError(
            f"no imagery file in the folder {folder} (looked for {wanted}). To read the VRT in it, "
            f"write `imagery: {{path: {vrt}}}`"
        )
    other = first_unsupported(sorted(files))
    advice = f"{other.name}: {what_to_do(other)}. " if other is not None else ""
    raise ImageryError(
        f"no imagery file in the folder {folder} (looked for {wanted}). {advice}{_CORRECT}"
    )


def _each_once(paths: Iterable[str]) -> list[str]:
    """The paths without further names of the same file; a name that is no link comes first."""
    by_target: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (Path(path).is_symlink(), path)):
        by_target.setdefault(os.path.realpath(path), path)
    return sorted(by_target.values())
