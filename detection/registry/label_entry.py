"""LabelEntry: what a registry, labels.yaml or a caller may say about a label."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from parcels.registry.entry_model import EntryModel

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Exports have a column LABEL_m2 for each label; this one exists already.
_RESERVED_NAMES = ("boundary_area",)
_KEYS = "prompt, kind, min_area_m2, score_threshold, simplify_share, contains"
_MAX_PROMPT_LENGTH = 200
# Key -> what to write instead of an invalid value.
LABEL_HINTS = {
    "labels.*.kind": "write discrete or continuous",
    "labels.*.min_area_m2": "write square metres, from 0 to 10,000",
    "labels.*.score_threshold": "write a number above 0 and below 1",
    "labels.*.simplify_share": "write a fraction from 0 to 0.1",
    "labels.*.contains": "write a list of label names, such as [lawn, tree]",
    "labels.*.prompt": "write a few words that name the object, such as swimming pool",
}
_OLD_KEYS = {"least_score": "score_threshold"}

log = logging.getLogger(__name__)


class LabelEntry(EntryModel):
    """A label as written; a missing key keeps its known or default value.

    Attributes:
        prompt: the text prompt of the segmenter.
        kind: "discrete" objects are counted for one lot, "continuous" ones are cut at the lot line.
        min_area_m2: smaller polygons are dropped as noise.
        score_threshold: the minimum score of the segmenter, 0..1.
        simplify_share: the fraction of a polygon's area that simplification may change.
        contains: names of labels that are part of this one.
    """

    prompt: str | None = None
    kind: Literal["discrete", "continuous"] | None = None
    min_area_m2: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | None = None
    score_threshold: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    simplify_share: Annotated[float, Field(ge=0, le=0.1, allow_inf_nan=False)] | None = None
    contains: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_prompt_text(cls, entry: object) -> object:
        if isinstance(entry, str):
            return {"prompt": entry}
        if not isinstance(entry, dict | LabelEntry):
            raise ValueError(f"write its prompt, or a mapping of {_KEYS}")
        return _replace_old_keys(entry) if isinstance(entry, dict) else entry

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str | None) -> str | None:
        if prompt is None:
            return None
        words = " ".join(prompt.split())
        if not words or not words.isprintable() or len(words) > _MAX_PROMPT_LENGTH:
            raise ValueError("write a few words that name the object, such as swimming pool")
        return words


def _replace_old_keys(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with old key names replaced; the old names stay accepted."""
    for old, new in _OLD_KEYS.items():
        if old in entry:
            if new in entry:
                raise ValueError(f"{old!r} is the old name of {new!r}; remove {old!r}")
            log.warning("label key %r is now called %r; please rename it", old, new)
            entry = {new if key == old else key: value for key, value in entry.items()}
    return entry


def label_name(name: str) -> str:
    """A label name, which becomes a column (`lawn_m2`) and a part of file names.

    Raises:
        ValueError: it is not valid, or reserved.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:60]!r} is not a label name; write a-z, digits and '_', a letter first, at "
            "most 40, such as solar_panel"
        )
    if name in _RESERVED_NAMES:
        raise ValueError(f"{name!r} is a column of the exports already; choose another name")
    return name


def _check_names(entries: object) -> object:
    if not isinstance(entries, Mapping):
        raise ValueError("write a name and a prompt for each label, such as pool: swimming pool")
    return {label_name(str(name)): entry for name, entry in entries.items()}


LabelEntries = Annotated[dict[str, LabelEntry], BeforeValidator(_check_names)]
