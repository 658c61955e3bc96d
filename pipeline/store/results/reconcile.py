"""What the findings of a chunk are beside what is known: new, there already, or decided about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import shapely

from pipeline.store.results.findings import Finding
from pipeline.store.results.measurements import LiveDetection


@dataclass(frozen=True, slots=True)
class StoredDetection:
    """A detection that is kept of a property, and not superseded.

    Attributes:
        reviewed: its WKB if a person said something of it; the others are told by fingerprint.
    """

    property_fk: int
    id: int
    label: str
    state: str
    fingerprint: str
    boundary_fk: int
    reviewed: bytes | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What is to be written, and what is live then.

    Attributes:
        new: the places of findings to be written.
        superseded: ids of what nobody reviewed and was not found again.
        live: in the order in which it was written, the new ones last.
        new_count, unchanged_count, superseded_count, suppressed_count: numbers by property.
    """

    new: list[int] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    live: list[LiveDetection] = field(default_factory=list)
    new_count: Counter[int] = field(default_factory=Counter)
    unchanged_count: Counter[int] = field(default_factory=Counter)
    superseded_count: Counter[int] = field(default_factory=Counter)
    suppressed_count: Counter[int] = field(default_factory=Counter)


def reconcile(
    findings: Sequence[Finding],
    suppressed: AbstractSet[int],
    known: Iterable[StoredDetection],
    boundary_of: Mapping[int, int],
    asked: Mapping[int, AbstractSet[str]],
) -> Reconciliation:
    """Compare the findings with what is known.

    Args:
        findings: of all properties, each once.
        suppressed: the places of those that people have decided about.
        known: of all properties.
        boundary_of: each property's boundary now.
        asked: the labels that were looked for on a property; none where there is no picture.
    """
    result = Reconciliation()
    by_age = sorted(known, key=lambda old: old.id)
    there = {(old.property_fk, old.fingerprint): old.id for old in by_age if old.reviewed is None}
    again: dict[int, Finding] = {}
    for place, found in enumerate(findings):
        old_id = there.get((found.property_fk, found.fingerprint))
        if place in suppressed:
            result.suppressed_count[found.property_fk] += found.count
        elif old_id is not None:
            again[old_id] = found
            result.unchanged_count[found.property_fk] += 1
        else:
            result.new.append(place)
            result.new_count[found.property_fk] += 1
    for old in by_age:
        if old.reviewed is not None:
            if old.state != "rejected":
                geometry = shapely.from_wkb(old.reviewed)
                result.live.append(
                    LiveDetection(old.id, old.property_fk, old.label, geometry, old.boundary_fk)
                )
        elif old.id in again:
            result.live.append(_live(again[old.id], old.boundary_fk, old.id))
        elif _is_over(old, boundary_of, asked):
            result.superseded.append(old.id)
            result.superseded_count[old.property_fk] += 1
    for found in (findings[place] for place in result.new):
        result.live.append(_live(found, boundary_of[found.property_fk]))
    return result


def _is_over(
    old: StoredDetection, boundary_of: Mapping[int, int], asked: Mapping[int, AbstractSet[str]]
) -> bool:
    """Whether what nobody reviewed, and was not found again, is superseded.

    It goes with the boundary it was found in, of every label: a run asks for some, and the others'
    sums would still be of the old boundary. In the same boundary a run says nothing of labels that
    it was not asked for.
    """
    return old.boundary_fk != boundary_of[old.property_fk] or old.label in asked[old.property_fk]


def _live(found: Finding, boundary_fk: int, detection_id: int | None = None) -> LiveDetection:
    detection = found.detection
    return LiveDetection(
        detection_id, found.property_fk, detection.label, detection.geometry, boundary_fk
    )
