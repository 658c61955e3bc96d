"""The detector's results: one for each boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shapely import MultiPolygon

from detection.label_areas import union_areas_m2

# Below this coverage a boundary counts as partly imaged. It is not 1: coverage is sampled at pixel
# centres, so a lot that ends at the image's edge may miss a few.
FULL_COVERAGE_FRACTION = 0.995

Relation = Literal["belongs", "shared", "trimmed"]
LotStatus = Literal["detected", "no_imagery", "unavailable", "failed", "no_boundary"]


@dataclass(frozen=True, slots=True)
class Detection:
    """A polygon of a label on a boundary, in EPSG:4326.

    Attributes:
        geometry: what is measured for this lot, at its position on the imagery: the complete
            object if it belongs to the lot, else its part inside. Each connected part of a
            continuous label is a separate detection.
        area_m2: of `geometry`.
        clipped_area_m2, whole_area_m2: of the part inside the lot, and of the complete object
            (of a continuous one, its extent near the lot). Both are always stored.
        score: 0..1, the segmenter's mean confidence over the object.
    """

    label: str
    prompt: str
    score: float
    relation: Relation
    geometry: MultiPolygon
    area_m2: float
    clipped_area_m2: float
    whole_area_m2: float


@dataclass(frozen=True, slots=True)
class ChipInfo:
    """The provenance of a detection: the imagery that its lot was detected on.

    Of a `LotResult`, `sources`, `captured_on` and `gsd_m` are those of the files whose pixels lie
    in the lot, not of the rest of the chip.

    Attributes:
        sha256: of the chip's pixels; of the lot's own part if only some of the chip's sources lie
            in the lot.
        sources: the files, or the service.
        captured_on: ISO 8601 date, year or interval; None if the date of any source is unknown.
        crs: of the chip, in which `bounds` (left, bottom, right, top) are.
        gsd_m: the pixel size of the imagery in metres, the coarsest of several sources.
        chip_gsd_m: the pixel size of the chip that the segmenter processed; it differs from `gsd_m`
            where imagery is resampled. None if it was not recorded.
    """

    sha256: str
    sources: tuple[str, ...]
    captured_on: str | None
    crs: str
    gsd_m: float
    bands: tuple[str, ...]
    bounds: tuple[float, float, float, float]
    chip_gsd_m: float | None = None


@dataclass(frozen=True, slots=True)
class LotResult:
    """The result for one boundary. "no_imagery" differs from "nothing found" (no detections).

    Attributes:
        reason: of every status except "detected": missing, corrupt, nodata, too_large, segmenter…;
            of "no_boundary" that of the `NoBoundary`.
        coverage_fraction: the fraction of the boundary's area with valid imagery, 0..1.
        chip: the provenance; None without imagery.
        segmenter: name and version; "" where none ran.
        caveats: what to know of these detections, a sentence or phrase each: see
            `detection.caveats`.
        labels: the names of the labels that were looked for.
    """

    status: LotStatus
    detections: tuple[Detection, ...] = ()
    coverage_fraction: float = 0.0
    chip: ChipInfo | None = None
    reason: str = ""
    detail: str = ""
    segmenter: str = ""
    caveats: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def areas_m2(self) -> dict[str, float]:
        """The area of each label that was looked for, 0 where none was found; overlaps count once.

        Empty unless the status is "detected": no imagery is not an area of 0. It is the area of the
        imaged part of the boundary, see `coverage_fraction`; labels may overlap each other.
        """
        if self.status != "detected":
            return {}
        found: dict[str, list[MultiPolygon]] = {name: [] for name in self.labels}
        for detection in self.detections:
            found.setdefault(detection.label, []).append(detection.geometry)
        return dict(zip(found, union_areas_m2(list(found.values())).tolist(), strict=True))
