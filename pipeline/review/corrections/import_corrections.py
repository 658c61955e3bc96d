"""Writes the corrections of a file as reviews: all of it in one transaction, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Engine

from parcels.errors import GeometryError
from parcels.measure import areas_m2, polygonal
from pipeline.errors import InvalidOutline, StoreError
from pipeline.review.corrections.additions import UNCHANGED_IOU, property_of, same_object
from pipeline.review.corrections.correction import Correction, UnusableValue
from pipeline.review.corrections.label_names import LabelNames
from pipeline.review.corrections.plan import Wanted, checked, content_key, wanted
from pipeline.store.reads import corrected
from pipeline.store.reads.corrected import ExportedDetection
from pipeline.store.reads.row_cursors import detection_columns
from pipeline.store.results.crossings import require_few_crossings, require_few_in_common
from pipeline.store.reviews import verdicts
from pipeline.store.reviews.outline_checks import OutlineRules, check_outline

_T = TypeVar("_T")
# Of one query.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """A correction that was not imported, and why."""

    correction: Correction
    why: str


@dataclass(slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        done: how many objects, by what became of them: accepted, rejected, restored, relabelled,
            edited, added, unchanged, "imported before".
        left_out: stored detections that the file does not have, on properties that it has.
    """

    done: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """How a file is imported.

    Attributes:
        county: its key.
        reviewer: whose word the corrections are.
        source: the file's name, for the notes of reviews.
        rules: the county's, for outlines: those of the panel.
        reject_missing: reject proposals that the file does not have; see `left_out`.
        dry_run: write nothing.
    """

    county: str
    reviewer: str
    source: str
    rules: OutlineRules
    reject_missing: bool = False
    dry_run: bool = False


def import_corrections(
    engine: Engine, corrections: Sequence[Correction], labels: LabelNames, request: ImportRequest
) -> ImportReport:
    """Import corrections; one that cannot be imported is refused, and stops no other.

    Raises:
        StoreError: no reviewer.
    """
    if not request.reviewer.strip():
        raise StoreError("corrections have no reviewer: give the name of the person with --by")
    with engine.connect() as conn, conn.begin() as transaction:
        report = _Import(conn, labels, request).run(corrections)
        if request.dry_run:
            transaction.rollback()
    return report


class _Import:
    def __init__(self, conn: Connection, labels: LabelNames, request: ImportRequest) -> None:
        self._conn, self._labels, self._request = conn, labels, request
        self._report = ImportReport()
        self._stored: dict[int, ExportedDetection] = {}
        self._exported: dict[int, BaseGeometry] = {}
        self._known_keys: set[str] = set()

    def run(self, corrections: Sequence[Correction]) -> ImportReport:
        ids = [each.detection_id for each in corrections if each.detection_id is not None]
        self._read(ids)
        self._read_exported(corrections)
        self._lock(corrections)
        self._read(ids)  # again: people and runs may have changed them meanwhile
        keys = [content_key(self._request.county, each) for each in corrections]
        for part in _chunks([f"{key}:{step}" for key in keys for step in _STEPS]):
            self._known_keys |= corrected.known_keys(self._conn, part)
        seen: set[str] = set()
        for each, key in _largest_first(list(zip(corrections, keys, strict=True))):
            if key in seen and each.problem is None:
                self._report.done["repeated in the file"] += 1
                continue
            seen.add(key)
            self._one(each, key)
        self._missing(corrections, ids)
        return self._report

    def _read(self, ids: list[int]) -> None:
        for some in _chunks(sorted(set(ids))):
            self._stored |= corrected.stored_detections(self._conn, self._request.county, some)

    def _read_exported(self, corrections: Sequence[Correction]) -> None:
        """What an export would write today of detections whose outline seems to be changed."""
        changed = {
            stored.property_id
            for each in corrections
            if (stored := self._stored.get(each.detection_id or 0)) is not None
            and self._is_changed(each, stored)
        }
        for some in _chunks(sorted(changed)):
            for columns in detection_columns(self._conn, self._request.county, some):
                outlines = shapely.from_wkb(columns["geometry"])
                self._exported |= dict(zip(columns["detection_id"], outlines, strict=True))

    def _lock(self, corrections: Sequence[Correction]) -> None:
        """Lock what will change, in the order of ids as runs do, so that none waits for us."""
        found: set[int] = set()
        for each in corrections:
            stored = self._stored.get(each.detection_id or 0)
            if stored is not None and self._is_changed(each, stored):
                found.add(stored.property_fk)
            elif each.detection_id is None and each.outline is not None and each.outline.is_valid:
                near = corrected.lots_at(self._conn, self._request.county, each.outline)
                found |= {lot.key for lot in near}
        corrected.lock_properties(self._conn, found)

    def _is_changed(self, each: Correction, stored: ExportedDetection) -> bool:
        try:
            return each.problem is None and bool(self._wanted(each, stored))
        except UnusableValue:
            return False

    def _wanted(self, each: Correction, stored: ExportedDetection) -> Wanted:
        return wanted(each, stored, self._labels, self._exported.get(stored.id))

    def _one(self, each: Correction, key: str) -> None:
        try:
            if each.problem is not None:
                raise UnusableValue(each.problem)
            if any(f"{key}:{step}" in self._known_keys for step in _STEPS):
                self._report.done["imported before"] += 1
                return
            for done in (
                self._add(each, key) if each.detection_id is None else (self._correct(each, key))
            ):
                self._report.done[done] += 1
        except (UnusableValue, StoreError, GeometryError) as error:
            self._report.refused.append(Refusal(each, str(error)))

    def _correct(self, each: Correction, key: str) -> list[str]:
        stored = self._stored.get(each.detection_id or 0)
        if stored is None:
            raise UnusableValue(
                f"the county has no detection {each.detection_id}: leave detection_id blank to add "
                "an object"
            )
        asked = self._wanted(each, stored)
        if not asked:
            return ["unchanged"]
        if asked.outline is not None and asked.review != "reject" and stored.boundary is not None:
            label = asked.label or stored.now.label
            check_outline(polygonal(asked.outline), stored.boundary, label, self._request.rules)
            require_few_crossings(asked.outline, stored.now.outline)
        return self._decide(stored.id, stored.now.version, asked, each, key)

    def _decide(
        self, detection_id: int, version: int, asked: Wanted, each: Correction, key: str
    ) -> list[str]:
        """Write what was asked for, all events or none."""
        with self._conn.begin_nested():
            return self._write(detection_id, version, asked, each, key)

    def _write(
        self, detection_id: int, version: int, asked: Wanted, each: Correction, key: str
    ) -> list[str]:
        """A rejection alone, else each change; a change accepts."""
        if asked.review in ("reject", "restore"):
            say = verdicts.reject if asked.review == "reject" else verdicts.restore
            done = say(
                self._conn, detection_id, self._request.reviewer,
                **self._common(each, key, asked.review, version),
            )  # fmt: skip
            version = done.version
            if asked.review == "reject":
                return ["rejected"]
        steps = ["restored"] if asked.review == "restore" else []
        if asked.label is not None:
            done = verdicts.relabel(
                self._conn, detection_id, self._request.reviewer, asked.label,
                **self._common(each, key, "relabel", version),
            )  # fmt: skip
            version = done.version
            steps.append("relabelled")
        if asked.outline is not None:
            verdicts.edit(
                self._conn, detection_id, self._request.reviewer, asked.outline,
                **self._common(each, key, "edit", version),
            )  # fmt: skip
            steps.append("edited")
        if not steps:
            verdicts.accept(
                self._conn, detection_id, self._request.reviewer,
                **self._common(each, key, "accept", version),
            )  # fmt: skip
            steps.append("accepted")
        return steps

    def _add(self, each: Correction, key: str) -> list[str]:
        if each.outline is None:
            raise UnusableValue("it has no geometry: draw its outline")
        if each.label is None:
            raise UnusableValue("it has no label: write one in the column `label`")
        if each.review in ("reject", "restore"):
            raise UnusableValue(
                f"it has no detection_id, so there is nothing to {each.review}: keep the column "
                "detection_id of the export"
            )
        label, outline = self._labels.label(each.label), checked(each.outline)
        lot = property_of(self._conn, self._request.county, outline, each.property_id)
        check_outline(polygonal(outline), lot.boundary, label, self._request.rules)
        match = same_object(self._conn, lot.key, label, outline)
        if match is not None:
            return self._matching(each, key, match)
        verdicts.add(
            self._conn, lot.key, self._request.reviewer, label, outline,
            note=self._note(each), idempotency_key=f"{key}:add",
        )  # fmt: skip
        return ["added"]

    def _matching(
        self, each: Correction, key: str, match: tuple[corrected.NearbyDetection, float]
    ) -> list[str]:
        """What becomes of an object without an id that shows one that is stored."""
        live, overlap = match
        is_same = overlap >= UNCHANGED_IOU
        if is_same and (live.state == "accepted" or not each.may_match):
            return ["unchanged"]
        if not each.may_match:
            raise UnusableValue(
                f"it shows detection {live.id} of the same label ({live.state}, IoU "
                f"{overlap:.2f}), which would be there twice: write detection_id {live.id} and "
                f"version {live.version} to correct that one"
            )
        asked = Wanted(review="accept") if is_same else Wanted(outline=each.outline)
        return self._decide(live.id, live.version, asked, each, key)

    def _common(self, each: Correction, key: str, step: str, version: int) -> dict[str, Any]:
        return {
            "note": self._note(each),
            "idempotency_key": f"{key}:{step}",
            "expected_version": version,
        }

    def _note(self, each: Correction) -> str:
        return each.note or f"Imported from {self._request.source}"

    def _missing(self, corrections: Sequence[Correction], ids: list[int]) -> None:
        """Count, or reject, what the file leaves out of the labels that it was exported with."""
        here = {
            stored.id: (each, stored)
            for each in corrections
            if (stored := self._stored.get(each.detection_id or 0)) is not None
        }
        labels = {_exported_label(each, stored) for each, stored in here.values()}
        properties = {stored.property_id for _, stored in here.values()}
        missing = corrected.left_out(self._conn, self._request.county, labels, properties, ids)
        self._report.left_out = len(missing)
        if not self._request.reject_missing:
            return
        for each in corrected.stored_detections(self._conn, self._request.county, missing).values():
            self._reject_missing(each)

    def _reject_missing(self, stored: ExportedDetection) -> None:
        absent = Correction(f"detection {stored.id}, which is not in the file", stored.now.outline)
        absent = replace(absent, values={"detection_id": stored.id, "label": stored.now.label})
        if stored.is_reviewed:
            by = f" by {stored.reviewer}" if stored.reviewer else ""
            why = f"it was reviewed{by}: reject it in the review panel"
            self._report.refused.append(Refusal(absent, why))
            return
        key = f"import:missing:{stored.id}:{stored.now.version}"
        note = f"Not in {self._request.source}"
        verdicts.reject(
            self._conn, stored.id, self._request.reviewer, note, idempotency_key=key,
            expected_version=stored.now.version,
        )  # fmt: skip
        self._report.done["rejected"] += 1


# Each is an event of its own, with its own key.
_STEPS = ("accept", "reject", "restore", "relabel", "edit", "add")


def _largest_first(pairs: list[tuple[Correction, str]]) -> Iterable[tuple[Correction, str]]:
    """In the file's order, additions last; of parts with one id, the largest is the detection.

    A program that splits an object gives all parts its id: the others are added.
    """
    by_id: dict[int, list[int]] = {}
    for number, (each, _) in enumerate(pairs):
        if each.detection_id is not None and each.problem is None and each.outline is not None:
            by_id.setdefault(each.detection_id, []).append(number)
    for numbers in by_id.values():
        distinct = {pairs[number][1]: number for number in reversed(numbers)}
        parts = sorted(distinct.values())
        if len(parts) > 1:
            _split(pairs, parts)
    return sorted(pairs, key=lambda pair: pair[0].detection_id is None)


def _split(pairs: list[tuple[Correction, str]], parts: Sequence[int]) -> None:
    outlines = [pairs[number][0].outline for number in parts]
    if not all(each is not None and each.is_valid for each in outlines):
        return  # each is refused for itself
    sizes = areas_m2(each for each in outlines if each is not None)
    try:
        require_few_in_common([each for each in outlines if each is not None])
        overlap_m2 = sizes.sum() - areas_m2([shapely.union_all(outlines)])[0]
    except InvalidOutline:
        overlap_m2 = sizes.sum()
    largest = parts[int(sizes.argmax())]
    for number in parts:
        each, key = pairs[number]
        if overlap_m2 > 0.01 * sizes.min():
            why = (
                f"{len(parts)} features have detection_id {each.detection_id} and overlap: keep "
                "one of them, and leave the id of the others blank"
            )
            pairs[number] = (replace(each, problem=why), key)
        elif number != largest:
            pairs[number] = (replace(each, detection_id=None, version=None, review=None), key)


def _chunks(values: list[_T]) -> Iterable[list[_T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _exported_label(each: Correction, stored: ExportedDetection) -> str:
    """The label of a feature in the export: others of its history are not the file's."""
    exported = None if each.version is None else stored.at(each.version)
    return (exported or stored.now).label
