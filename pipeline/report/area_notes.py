"""Totals of areas as people read them: which rows go together, and what to know before adding.

The terminal, the page, `lotline status` and the README of an export all use this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from detection.results import FULL_COVERAGE_FRACTION
from pipeline.plurals import count_of
from pipeline.report import formatting
from pipeline.report.run_report import LabelArea
from pipeline.store.runs.area_totals import AreaTotal
from pipeline.store.runs.totals import SourceCount

FULL_COVERAGE_PERCENT = f"{100 * FULL_COVERAGE_FRACTION:g} %"

# Less is rounding.
_MIN_REPEATED_M2 = 1.0


AreaRow = LabelArea | AreaTotal


@dataclass(frozen=True, slots=True)
class AreaGroup:
    """Rows of one segmenter with one weights, of fully or of partly imaged boundaries.

    Attributes:
        heading: what sets the group apart; "" for the only group.
    """

    heading: str
    partly_imaged: bool
    rows: tuple[AreaRow, ...]


def area_groups(areas: Iterable[AreaRow]) -> list[AreaGroup]:
    """The rows in groups, which are never added to each other; fully imaged ones first."""
    ordered = sorted(areas, key=_group_key)
    segmenters = {(row.segmenter, row.weights_sha256) for row in ordered}
    groups = []
    for (is_partly_imaged, segmenter, weights), rows in groupby(ordered, _group_key):
        parts = ["imaged only in part"] if is_partly_imaged else []
        if len(segmenters) > 1:
            parts.append(f"by {segmenter_name(segmenter, weights)}")
        groups.append(AreaGroup(", ".join(parts), is_partly_imaged, tuple(rows)))
    return groups


def segmenter_name(segmenter: str, weights_sha256: str | None) -> str:
    """The name and version, and the beginning of the hash of its weights."""
    return f"{segmenter} ({weights_sha256[:8]})" if weights_sha256 else segmenter


def measured_in(sources: Sequence[SourceCount]) -> str:
    """How many properties were measured in lots and in circles, as a sentence."""
    parts = []
    for source in sources:
        name = formatting.source_name(source.source)
        partly = f" ({source.partly_imaged:,} imaged only in part)" if source.partly_imaged else ""
        parts.append(f"{source.properties:,} in a {name}{partly}")
    return f"Measured: {', '.join(parts)}." if parts else ""


def area_notes(
    sources: Sequence[SourceCount], areas: Sequence[AreaRow], contains: Mapping[str, Sequence[str]]
) -> list[str]:
    """What to know before adding or comparing these areas, a sentence each.

    Args:
        contains: the labels that are part of a label.
    """
    notes = [note for source in sources for note in _ground_notes(source)]
    partly = sum(source.partly_imaged or 0 for source in sources)
    if partly:
        notes.append(
            f"{count_of(partly, 'properties')} {'has' if partly == 1 else 'have'} imagery of less "
            f"than {FULL_COVERAGE_PERCENT} of the boundary: what lies on the rest is not in their "
            "areas, which are therefore apart."
        )
    if len({(row.segmenter, row.weights_sha256) for row in areas}) > 1:
        notes.append("Areas of different segmenters or weights are never added.")
    notes += overlap_notes({row.label for row in areas}, contains)
    if any(row.repeated_m2 is None for row in areas):
        notes.append(
            "Stored by an earlier version: ground that several properties share may count several "
            "times, and partly imaged lots are included."
        )
    return notes


def overlap_notes(labels: Collection[str], contains: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each of the labels that others of them are part of."""
    present = {label: [p for p in contains[label] if p in labels] for label in contains}
    return [
        f"{label} contains {' and '.join(parts)}: never add them."
        for label, parts in present.items()
        if label in labels and parts
    ]


def _ground_notes(source: SourceCount) -> list[str]:
    """The ground that several properties share."""
    notes = []
    name = formatting.source_name(source.source)
    if source.boundaries is not None and source.boundaries < source.properties:
        distinct = count_of(source.boundaries, f"{name}s")
        notes.append(
            f"{count_of(source.properties, 'properties')} are in {distinct}: one that several "
            "properties have counts once."
        )
    overlap_m2 = source.repeated_m2 or 0.0
    is_overlapping = source.boundaries is not None and source.boundaries > 1
    if overlap_m2 >= _MIN_REPEATED_M2 and is_overlapping and source.ground_m2 is not None:
        notes.append(
            f"The {name}s cover {formatting.area(source.ground_m2)} m² of ground; "
            f"{formatting.area(overlap_m2)} m² where they overlap or repeat are left out."
        )
    return notes


def _group_key(row: AreaRow) -> tuple[bool, str, str]:
    return bool(row.partly_imaged), row.segmenter, row.weights_sha256 or ""
