"""The labels that a file means: those of the county, by its names or by a map of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from detection.registry.label_entry import label_name
from parcels.errors import RegistryError
from parcels.registry.yaml_file import parse_yaml, read_text
from parcels.untrusted import sanitize_text
from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections.correction import UnusableValue, require_file

_MAX_MAP_BYTES = 1 << 20


class LabelNames:
    """Known labels, and other names for them.

    Args:
        known: the county's labels.
        renamed: labels by the name that a file has for them; these may be new.
    """

    def __init__(self, known: Iterable[str], renamed: Mapping[str, str] | None = None) -> None:
        self._known = {name.casefold(): name for name in known}
        self._known |= {name.casefold(): name for name in (renamed or {}).values()}
        self._renamed = {name.casefold(): label for name, label in (renamed or {}).items()}

    def label(self, name: str) -> str:
        """The label of a name.

        Raises:
            UnusableValue: the county does not have it, which may be a spelling mistake.
        """
        folded = name.casefold()
        label = self._renamed.get(folded) or self._known.get(folded)
        if label is None:
            shown = sanitize_text(name, 60)
            raise UnusableValue(
                f"{shown!r} is not a label of the county ({', '.join(self._known.values())}): "
                f"pass --label-map {shown!r}=LABEL"
            )
        return label


def read_label_maps(texts: Sequence[str]) -> dict[str, str]:
    """Labels by the name in a file, from "name=label" or YAML files of `name: label`.

    Raises:
        CorrectionsFileError: neither.
    """
    renamed: dict[str, str] = {}
    for text in texts:
        name, equals, label = text.partition("=")
        pairs = {name.strip(): label.strip()} if equals else _of_file(Path(text))
        for key, value in pairs.items():
            try:
                if not key:
                    raise ValueError("a name is missing; write NAME=LABEL")
                label_name(value)
            except ValueError as error:
                raise CorrectionsFileError(
                    f"--label-map {sanitize_text(text, 60)!r}: {error}"
                ) from error
            renamed[key] = value
    return renamed


def _of_file(path: Path) -> dict[str, str]:
    require_file(path, _MAX_MAP_BYTES)
    try:
        content = parse_yaml(read_text(path), path)
    except RegistryError as error:
        raise CorrectionsFileError(str(error)) from error
    if not isinstance(content, dict) or not all(
        isinstance(each, str | int | float) for pair in content.items() for each in pair
    ):
        raise CorrectionsFileError(f"{path}: write a line `name: label` for each name")
    return {str(name): str(label) for name, label in content.items()}
