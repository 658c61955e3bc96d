"""The caveats of each exported row: what found it, and whether its label was ever evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from detection.caveats import segmenter_caveats, untaught_prompts, untested_labels
from pipeline.store.reads.row_cursors import ColumnArrays

_UNTAUGHT = "the segmenter was not taught this prompt"
_UNTESTED = "a label or prompt of your own, whose accuracy is untested"


def row_caveats(columns: ColumnArrays, county_notes: Sequence[str]) -> list[str | None] | None:
    """The caveats of rows, separated by "; "; None for rows that have none.

    Args:
        columns: of detections, or of properties.
        county_notes: of the labels that properties are measured for.

    Returns:
        None for a table without segmenters.
    """
    if "segmenter" in columns:
        rows = zip(columns["segmenter"], columns["label"], columns["prompt"], strict=True)
        return [_of_detection(*row) for row in rows]
    if "segmenters" in columns:
        notes = tuple(county_notes)
        return [_of_property(tuple(names), notes) for names in columns["segmenters"]]
    return None


@lru_cache(maxsize=1024)
def _of_detection(segmenter: str, label: str, prompt: str) -> str | None:
    is_own = segmenter != "person" and bool(untested_labels([label], {label: prompt}))
    untaught = [_UNTAUGHT] if untaught_prompts(segmenter, [prompt]) else []
    return _joined([*segmenter_caveats(segmenter), *untaught, *([_UNTESTED] if is_own else [])])


@lru_cache(maxsize=1024)
def _of_property(segmenters: tuple[str, ...], notes: tuple[str, ...]) -> str | None:
    return _joined([*_named(segmenters), *notes]) if segmenters else None


def _named(segmenters: Iterable[str]) -> Iterator[str]:
    for name in segmenters:
        if caveats := segmenter_caveats(name):
            yield f"{name}: {', '.join(caveats)}"


def _joined(caveats: Sequence[str]) -> str | None:
    return "; ".join(caveats) or None
