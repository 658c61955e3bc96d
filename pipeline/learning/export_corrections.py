"""Exports what people have reviewed in full, as pairs, into a folder or a bucket.

Files are named by their content, and the manifest that names them is written last: an export that
is killed leaves no half pair, and the next one uses the files that it left. Pairs whose review,
boundary and imagery are as before are kept without reading anything again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from shapely.geometry import shape
from sqlalchemy import Engine

from detection.county_settings import lot_lines, open_county_imagery
from detection.errors import DetectionError
from detection.imagery.interface import ImagerySource
from detection.lot_chips import LotChips
from detection.registry.county import DetectionCounty
from pipeline.errors import ManifestError, PipelineError
from pipeline.learning.coco_file import CocoObject, coco_document, objects_in
from pipeline.learning.corrections_manifest import (
    CorrectionsManifest,
    read_newest,
    write_manifest,
)
from pipeline.learning.export_files import ExportFiles
from pipeline.learning.pair import Pair, StoredFile
from pipeline.learning.pair_builder import PairSource, build_pairs, chips_of, view_of
from pipeline.learning.spatial_split import (
    SPLITS,
    Place,
    Split,
    SplitRule,
    shared_lots,
    split_places,
)
from pipeline.store.objects.folder_or_bucket import ObjectStore
from pipeline.store.reads.fully_reviewed import (
    ReviewedProperty,
    fully_reviewed_keys,
    reviewed_property,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SkippedProperty:
    """A reviewed property that has no pair now."""

    county: str
    property_id: str
    why: str


@dataclass(frozen=True, slots=True)
class CorrectionsReport:
    """What an export did.

    Attributes:
        manifest: the newest one.
        sha256: its hash; None if nothing is new, and none was written.
        kept: pairs that the manifest before had too.
        removed: pairs of the manifest before that do not hold any more.
        swept: files that an earlier export left without a manifest, now removed.
    """

    manifest: CorrectionsManifest
    sha256: str | None
    new: int
    kept: int
    removed: int
    swept: int
    skipped: list[SkippedProperty]


@dataclass(slots=True)
class _Before:
    """The pairs of the newest manifest, by the hash of their source, with their objects."""

    manifest: CorrectionsManifest | None
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    objects: dict[str, list[CocoObject]] = field(default_factory=dict)


def export_corrections(
    engine: Engine,
    counties: Sequence[DetectionCounty],
    objects: ObjectStore,
    rule: SplitRule,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CorrectionsReport:
    """Export the reviewed properties of counties; pairs of other counties stay.

    Args:
        progress: gets the properties that are done, and their number.

    Raises:
        ManifestError: the manifest that is there is damaged.
        ObjectStoreError: a file cannot be read or written.
        ImageryError: a county's imagery is configured wrongly.
    """
    files = ExportFiles(objects)
    before = _read_before(objects)
    reviewed = [(county, key) for county in counties for key in _keys(engine, county.key)]
    exported = {county.key for county in counties}
    others = [
        pair
        for pairs in before.pairs.values()
        for pair in pairs
        if pair.county not in exported
    ]  # fmt: skip
    built: list[Pair] = list(others)
    own = {pair.id: before.objects[pair.id] for pair in others}
    skipped: list[SkippedProperty] = []
    chips = _OpenedChips()
    for number, (county, key) in enumerate(reviewed, start=1):
        progress(number, len(reviewed))
        found = _property(engine, key)
        if found is None:
            continue  # its review was withdrawn meanwhile
        try:
            source = PairSource(found, view_of(found, county.imagery.chip_gsd_m), lot_lines(county))
            if (as_before := before.pairs.get(source.sha256)) is not None:
                built += as_before
                own |= {pair.id: before.objects[pair.id] for pair in as_before}
                continue
            pairs = build_pairs(source, chips.of(county, source), files.store)
        except DetectionError as error:
            skipped.append(SkippedProperty(county.key, found.property_id, str(error)))
            continue
        built += [each.pair for each in pairs]
        own |= {each.pair.id: list(each.objects) for each in pairs}
    pairs_now = with_splits(built, rule)
    manifest = _manifest(rule, pairs_now, _coco_files(pairs_now, own, files))
    is_same = _is_same(before.manifest, manifest)
    known = {pair.id for group in before.pairs.values() for pair in group}
    now = {pair.id for pair in pairs_now}
    return CorrectionsReport(
        manifest,
        None if is_same else write_manifest(objects, manifest),
        new=len(now - known),
        kept=len(now & known),
        removed=len(known - now),
        swept=files.sweep(),
        skipped=skipped,
    )


def with_splits(pairs: Sequence[Pair], rule: SplitRule) -> list[Pair]:
    """The pairs with their blocks and splits; pairs of one lot have the same.

    Raises:
        PipelineError: lots of two splits share ground, which is a fault of Lotline.
    """
    places = [
        Place(shape(pair.boundary), tuple(f"{pair.county}:{each}" for each in pair.parcel_ids),
              pair.is_audited)
        for pair in pairs
    ]  # fmt: skip
    divided = split_places(places, rule)
    if shared := shared_lots(places, [split for _, split in divided]):
        one, other = (pairs[i].property_id for i in shared[0])
        raise PipelineError(f"the lots of {one} and {other} share ground and have different splits")
    return [
        pair.model_copy(update={"block": block, "split": split})
        for pair, (block, split) in zip(pairs, divided, strict=True)
    ]


def _keys(engine: Engine, county: str) -> list[int]:
    with engine.connect() as conn:
        return fully_reviewed_keys(conn, county)


class _OpenedChips:
    """The chips of each county, opened at the first use; neighbours share what was read."""

    def __init__(self) -> None:
        self._imagery: dict[str, ImagerySource] = {}
        self._chips: dict[tuple[str, int, float | None], LotChips] = {}

    def of(self, county: DetectionCounty, source: PairSource) -> LotChips:
        if county.key not in self._imagery:
            self._imagery[county.key] = open_county_imagery(county)
        key = (county.key, source.view.chip_px, source.view.chip_gsd_m)
        if key not in self._chips:
            self._chips[key] = chips_of(source, self._imagery[county.key])
        return self._chips[key]


def _property(engine: Engine, key: int) -> ReviewedProperty | None:
    with engine.connect() as conn:  # not for as long as imagery is read
        return reviewed_property(conn, key)


def _read_before(objects: ObjectStore) -> _Before:
    manifest = read_newest(objects)
    before = _Before(manifest)
    if manifest is None:
        return before
    for file in manifest.coco.values():
        data = objects.get(file.key)
        try:
            if data is None:
                raise KeyError(file.key)
            before.objects |= objects_in(data)
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{objects.address}/{file.key}, which the manifest names, is missing or damaged: "
                "restore it, or export into an empty folder"
            ) from error
    for pair in manifest.pairs:
        before.pairs.setdefault(pair.source_sha256, []).append(pair)
    return before


def _manifest(
    rule: SplitRule, pairs: Sequence[Pair], coco: dict[Split, StoredFile]
) -> CorrectionsManifest:
    return CorrectionsManifest(
        lotline=version("lotline"), created_at=datetime.now(UTC), block_m=rule.block_m,
        validation=rule.validation, test=rule.test, seed=rule.seed, coco=coco, pairs=tuple(pairs),
    )  # fmt: skip


def _coco_files(
    pairs: Sequence[Pair], objects: dict[str, list[CocoObject]], files: ExportFiles
) -> dict[Split, StoredFile]:
    labels = sorted({label for pair in pairs for label in pair.labels})
    return {
        split: files.store("coco", coco_document(of_split, objects, labels), ".json")
        for split in SPLITS
        if (of_split := [pair for pair in pairs if pair.split == split])
    }


def _is_same(before: CorrectionsManifest | None, now: CorrectionsManifest) -> bool:
    """Whether two manifests say the same but for when and by which version."""
    if before is None:
        return not now.pairs
    written = {"created_at", "lotline"}
    return before.model_dump_json(exclude=written) == now.model_dump_json(exclude=written)
