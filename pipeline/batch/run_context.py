"""What the stages of a run have to know: small, and the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detection.clip import LotLines
from detection.imagery import open_imagery
from detection.imagery.interface import ImagerySource
from detection.labels import Label
from detection.registry.county import DetectionCounty
from detection.segmenters.interface import Segmenter
from parcels import County
from parcels.arcgis import ArcGISSource
from parcels.cache import CachedSource, LayerKey
from parcels.service import WhenUnavailable
from pipeline.batch.request import NoProgress, Progress
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache
from pipeline.store.results.outcomes import RunInfo

if TYPE_CHECKING:
    from parcels.cache.file_snapshot import SnapshotFile

# It takes some ten seconds to copy so many.
_SAY_EVERY = 100_000
_SILENT = NoProgress()


@dataclass(frozen=True, slots=True)
class SegmenterInfo:
    """What there is to know of a segmenter where it is not at hand; see `Segmenter`."""

    name: str
    weights_sha256: str | None
    labels: tuple[str, ...] | None
    chip_px: int
    gsd_m: float | None
    chips_per_batch: int


@dataclass(frozen=True, slots=True)
class ChipSpec:
    """What a segmenter wants to be shown; whoever plans chips has no segmenter.

    Attributes:
        chip_px: the side of a chip in pixels of `gsd_m`.
        gsd_m: None where the imagery's own will do.
    """

    chip_px: int
    gsd_m: float | None
    chips_per_batch: int


@dataclass(frozen=True, slots=True)
class RunContext:
    """All that the stages of a run have to know. It can be sent to another process.

    Attributes:
        owner: in whose name properties are leased.
        database_url: with its password; the embedded database's holds on this machine only.
    """

    county: DetectionCounty
    run: RunInfo
    owner: str
    labels: tuple[Label, ...]
    lines: LotLines
    shown: ChipSpec
    when_unavailable: WhenUnavailable
    database_url: str = field(repr=False)

    def open_imagery(self) -> ImagerySource:
        """The county's imagery. One object may be read by several threads.

        Raises:
            ImageryError: it is configured wrongly.
        """
        return open_imagery(self.county.imagery, allow_private=self.county.allow_private)


def segmenter_info(segmenter: Segmenter) -> SegmenterInfo:
    """What others have to know of a segmenter."""
    return SegmenterInfo(
        segmenter.name,
        segmenter.weights_sha256,
        segmenter.labels,
        segmenter.chip_px,
        segmenter.gsd_m,
        segmenter.chips_per_batch,
    )


def chip_spec(facts: SegmenterInfo, county: DetectionCounty) -> ChipSpec:
    """What a segmenter is shown of a county's imagery."""
    gsd_m = county.imagery.chip_gsd_m or facts.gsd_m
    return ChipSpec(facts.chip_px, gsd_m, facts.chips_per_batch)


def lot_lines(county: DetectionCounty) -> LotLines:
    """How the county's lot lines lie on its imagery."""
    if county.line_tolerance_m is None:
        return LotLines(county.lot_offset_m)
    return LotLines(county.lot_offset_m, county.line_tolerance_m)


def cached_parcels(
    county: County, database: Database, progress: Progress = _SILENT
) -> CachedSource | SnapshotFile | None:
    """The county's server behind what the database keeps of it; else see `is_large_file`."""
    if county.source != "arcgis":
        return is_large_file(county, database, progress)
    return CachedSource(ArcGISSource(county), DatabaseCache(database.engine), LayerKey.of(county))


def is_large_file(
    county: County, database: Database, progress: Progress = _SILENT
) -> SnapshotFile | None:
    """The copy in the database of a county's file; None for one of few lots, to read into memory.

    Raises:
        SourceMisconfigured, GeometryError: the file cannot be read; the entry must be mended.
        CacheError: the file was changed while it was copied.
    """
    # Imported late: geopandas takes a second, which only a county with a file has to pay.
    from parcels.cache.file_snapshot import snapshot_file

    return snapshot_file(county, DatabaseCache(database.engine), _Copying(county, progress))


class _Copying:
    """Says how far a file is copied."""

    def __init__(self, county: County, progress: Progress) -> None:
        self._name = "" if county.path is None else county.path.name
        self._progress = progress
        self._said = -1

    def __call__(self, rows: int, total: int) -> None:
        if self._said < 0:
            self._progress.message(f"copying {self._name} into the database: {total:,} lots")
        elif rows < self._said + _SAY_EVERY:
            return
        else:
            self._progress.message(f"{self._name}: {rows:,} of {total:,} lots")
        self._said = rows
