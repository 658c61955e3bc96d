"""What was refused, as GeoJSON beside the file: open it, correct it, and import it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import shapely

from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections.import_corrections import Refusal

_HEAD = '{"type": "FeatureCollection", "name": "refused by lotline review import", "features": ['
_SUFFIX = ".refused.geojson"


def write_refused(source: Path, refused: Sequence[Refusal]) -> Path | None:
    """Write what was refused of a file; an earlier report of ours is replaced or removed.

    Returns:
        The path; None if nothing was refused.

    Raises:
        CorrectionsFileError: the folder cannot be written.
    """
    path = next(each for each in _names(source) if not each.exists() or _is_ours(each))
    try:
        if not refused:
            path.unlink(missing_ok=True)
            return None
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(_text(refused), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise CorrectionsFileError(
            f"{path} cannot be written ({error.strerror or error}): pass another file with --report"
        ) from error
    return path


def _names(source: Path) -> Iterator[Path]:
    yield source.with_name(source.name + _SUFFIX)
    number = 2
    while True:
        yield source.with_name(f"{source.name}.{number}{_SUFFIX}")
        number += 1


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD.encode()


def _text(refused: Sequence[Refusal]) -> str:
    return _HEAD + "\n" + ",\n".join(map(_feature, refused)) + "\n]}\n"


def _feature(refusal: Refusal) -> str:
    each = refusal.correction
    properties = {**each.values, "refused": refusal.why, "in_file": each.where}
    outline = each.outline
    shape = None if outline is None else json.loads(shapely.to_geojson(outline))
    return json.dumps(
        {"type": "Feature", "properties": properties, "geometry": shape}, ensure_ascii=False
    )
