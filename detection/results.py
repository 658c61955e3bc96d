"""What the detector answers for each boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shapely import MultiPolygon

# A boundary is partly imaged below this share. It is no 1: by their centres, pixels along the
# image's edge may fall outside a lot that ends there.
FULL_COVERAGE_FRACTION = 0.995

Relation = Literal["belongs", "shared", "trimmed"]
LotStatus = Literal["detected", "no_imagery", "unavailable", "failed"]


@dataclass(frozen=True, slots=True)
class Detection:
    """A polygon of a label on a boundary, in EPSG:4326, and where it came from.

    Attributes:
        geometry: what is measured on this lot, as it lies on the imagery: the whole object where
            it belongs to the lot, else the part of it inside. Of a continuous label, each
            connected part is a detection of its own.
        area_m2: of `geometry`.
        clipped_area_m2, whole_area_m2: of the part inside the lot, and of the whole object; of a
            continuous one, as far as it is seen close to the lot. Both are always kept.
        score: 0..1, the segmenter's mean confidence over the object, as far as it is seen.
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
    """Which picture a lot was seen in: provenance without the pixels."""

    sha256: str
    sources: tuple[str, ...]
    captured_on: str | None
    crs: str
    gsd_m: float
    bands: tuple[str, ...]
    bounds: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LotResult:
    """The answer for one boundary. "no_imagery" is not "nothing found" (no detections).

    Attributes:
        reason: for every status but "detected": missing, corrupt, nodata, too_large, segmenter...
        coverage_fraction: the share of the boundary's area that the imagery shows, 0..1.
        chip: None where there is no imagery.
    """

    status: LotStatus
    detections: tuple[Detection, ...] = ()
    coverage_fraction: float = 0.0
    chip: ChipInfo | None = None
    reason: str = ""
    detail: str = ""
