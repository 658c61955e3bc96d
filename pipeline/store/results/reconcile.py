"""Compares the findings of a chunk with stored detections: new, unchanged or suppressed."""

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
    """A stored detection of a property that is not superseded.

    Attributes:
        reviewed_wkb: its geometry if it was reviewed; others are compared by fingerprint.
    """

    property_fk: int
    id: int
    label: str
    state: str
    fingerprint: str
    boundary_fk: int
    reviewed_wkb: bytes | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What to write, and which detections are live afterwards.

    Attributes:
        new: indices of the findings to insert.
        superseded: ids of unreviewed detections that were not found again.
        live: in the order in which they were written, new ones last.
        reviewed: those of `live` that people let stand.
        kept: properties with unreviewed detections of other labels, which stay.
        new_count, unchanged_count, superseded_count, suppressed_count: numbers by property.
    """

    new: list[int] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    live: list[LiveDetection] = field(default_factory=list)
    reviewed: list[LiveDetection] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)
    new_count: Counter[int] = field(default_factory=Counter)
    unchanged_count: Counter[int] = field(default_factory=Counter)
    superseded_count: Counter[int] = field(default_factory=Counter)
    suppressed_count: Counter[int] = field(default_factory=Counter)


def reconcile(
    findings: Sequence[Finding],
    suppressed: AbstractSet[int],
    stored: Iterable[StoredDetection],
    boundary_of: Mapping[int, int],
    labels_of: Mapping[int, AbstractSet[str]],
) -> Reconciliation:
    """Compare findings with stored detections.

    Args:
        findings: of all properties, without duplicates.
        suppressed: indices of the findings that match a reviewed detection.
        stored: of all properties.
        boundary_of: the current boundary of each property.
        labels_of: the labels that were segmented on each property; empty without imagery.
    """
    result = Reconciliation()
    by_age = sorted(stored, key=lambda old: old.id)
    unreviewed = {
        (old.property_fk, old.fingerprint): old.id for old in by_age if old.reviewed_wkb is None
    }
    unchanged: dict[int, Finding] = {}
    for index, finding in enumerate(findings):
        old_id = unreviewed.get((finding.property_fk, finding.fingerprint))
        if index in suppressed:
            result.suppressed_count[finding.property_fk] += finding.count
        elif old_id is not None:
            unchanged[old_id] = finding
            result.unchanged_count[finding.property_fk] += 1
        else:
            result.new.append(index)
            result.new_count[finding.property_fk] += 1
    for old in by_age:
        if old.reviewed_wkb is not None:
            if old.state != "rejected":
                geometry = shapely.from_wkb(old.reviewed_wkb)
                result.reviewed.append(
                    LiveDetection(old.id, old.property_fk, old.label, geometry, old.boundary_fk)
                )
                result.live.append(result.reviewed[-1])
        elif old.id in unchanged:
            result.live.append(_live(unchanged[old.id], old.boundary_fk, old.id))
        elif _is_superseded(old, boundary_of, labels_of):
            result.superseded.append(old.id)
            result.superseded_count[old.property_fk] += 1
        else:
            result.kept.add(old.property_fk)
    for finding in (findings[index] for index in result.new):
        result.live.append(_live(finding, boundary_of[finding.property_fk]))
    return result


def _is_superseded(
    old: StoredDetection, boundary_of: Mapping[int, int], labels_of: Mapping[int, AbstractSet[str]]
) -> bool:
    """Whether an unreviewed detection that was not found again is superseded.

    A new boundary supersedes detections of every label: otherwise the areas of labels that this run
    does not segment would still be those of the old boundary. In the same boundary, a run
    supersedes only its own labels.
    """
    return old.boundary_fk != boundary_of[old.property_fk] or (
        old.label in labels_of[old.property_fk]
    )


def _live(finding: Finding, boundary_fk: int, detection_id: int | None = None) -> LiveDetection:
    detection = finding.detection
    return LiveDetection(
        detection_id, finding.property_fk, detection.label, detection.geometry, boundary_fk
    )
