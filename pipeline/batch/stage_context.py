"""What the stages of a run need: small, picklable, and the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from detection.clip import LotLines
from detection.county_settings import chip_gsd_m, open_county_imagery
from detection.imagery.interface import ImagerySource
from detection.labels import Label
from detection.registry.county import DetectionCounty
from detection.segmenters.interface import Segmenter
from parcels.service import WhenUnavailable
from pipeline.store.results.outcomes import RunInfo


@dataclass(frozen=True, slots=True)
class SegmenterInfo:
    """The attributes of a `Segmenter`, for processes that have not loaded it."""

    name: str
    weights_sha256: str | None
    labels: tuple[str, ...] | None
    chip_px: int
    gsd_m: float | None
    chips_per_batch: int


@dataclass(frozen=True, slots=True)
class ChipSpec:
    """The chips that a segmenter expects of a county's imagery.

    Attributes:
        chip_px: the side of a chip in pixels of `gsd_m`.
        gsd_m: ground sample distance; None for the imagery's own.
        chips_per_batch: how many chips one inference call takes.
    """

    chip_px: int
    gsd_m: float | None
    chips_per_batch: int


@dataclass(frozen=True, slots=True)
class StageContext:
    """Everything that the stages of a run need. It can be sent to another process.

    Attributes:
        run: the run's row in the database, and its segmenter.
        owner: the lease owner of the run's properties.
        labels: what the segmenter looks for.
        lot_lines: how far the county's lot lines are off its imagery.
        database_url: with its password; an embedded database is reachable on this machine only.
    """

    county: DetectionCounty
    run: RunInfo
    owner: str
    labels: tuple[Label, ...]
    lot_lines: LotLines
    chip_spec: ChipSpec
    when_unavailable: WhenUnavailable
    database_url: str = field(repr=False)

    def open_imagery(self) -> ImagerySource:
        """The county's imagery; several threads may share it.

        Raises:
            ImageryError: the imagery is misconfigured.
        """
        return open_county_imagery(self.county)


def segmenter_info(segmenter: Segmenter) -> SegmenterInfo:
    """The attributes of a loaded segmenter."""
    return SegmenterInfo(
        segmenter.name,
        segmenter.weights_sha256,
        segmenter.labels,
        segmenter.chip_px,
        segmenter.gsd_m,
        segmenter.chips_per_batch,
    )


def chip_spec(info: SegmenterInfo, county: DetectionCounty) -> ChipSpec:
    """The chips that a segmenter expects; a county may set another ground sample distance."""
    return ChipSpec(info.chip_px, chip_gsd_m(county, info.gsd_m), info.chips_per_batch)
