"""A pair: a reviewed lot on a chip, and for each label the mask of what people confirmed there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.learning.spatial_split import Split


class _Document(BaseModel):
    """JSON that another version may have written: unknown keys are kept out, wrong ones refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredFile(_Document):
    """A file of an export: its key in the object store, and the SHA-256 of its bytes."""

    key: str
    sha256: str


class LabelMask(_Document):
    """What people confirmed of a label on a chip.

    Attributes:
        mask: a PNG of 0 and 255 on the chip's pixels.
        prompt: the text that the segmenter had; None if it takes none.
        is_exhaustive: whether ground of the lot without the label is known to have none of it.
        objects: their number; 0 with `is_exhaustive` is a negative example.
        area_px: pixels of the mask inside the lot.
    """

    mask: StoredFile
    prompt: str | None
    is_exhaustive: bool
    objects: int
    area_px: int


class PairEvent(_Document):
    """A decision of a person that the pair follows from."""

    review: int
    detection: int
    action: str
    reviewer: str
    at: datetime


class SegmenterView(_Document):
    """How the segmenter saw the lot: its name and weights, and the size of its chips."""

    name: str
    weights_sha256: str | None
    chip_px: int
    chip_gsd_m: float | None


class Pair(_Document):
    """A lot that was reviewed in full, on one chip; a large lot has several.

    Attributes:
        id: the same as long as review, boundary and imagery are the same.
        source_sha256: of all that the pair follows from; of one property all pairs have the same.
        split, block: set when all pairs are known; the block of ground decides the split.
        chip: a GeoTIFF of the pixels that the segmenter saw.
        chip_sha256: of these pixels, as detections name them.
        view: what the segmenter saw instead, where the chip lies partly beyond the imagery.
        lot: a PNG of 0 and 255: the pixels that people have judged, inside the lot.
        boundary: the lot as GeoJSON, EPSG:4326; `boundary_source` is "lot" or "buffer_30m".
        lot_offset_m, line_tolerance_m: of the county's lot lines on its imagery, as `LotLines`.
    """

    id: str
    source_sha256: str
    county: str
    property_id: str
    split: Split = "train"
    block: str = ""
    is_audited: bool
    exhaustive: bool
    width_px: int
    height_px: int
    gsd_m: float
    captured_on: str | None
    chip: StoredFile
    chip_sha256: str
    view: StoredFile | None = None
    lot: StoredFile
    boundary: dict[str, Any]
    boundary_source: str
    boundary_version: str
    lot_offset_m: tuple[float, float] = (0.0, 0.0)
    line_tolerance_m: float = 1.5
    parcel_ids: tuple[str, ...]
    segmenter: SegmenterView
    labels: dict[str, LabelMask]
    reviewer: str
    reviewed_at: datetime
    events: tuple[PairEvent, ...]

    @property
    def files(self) -> list[StoredFile]:
        """All files of the pair."""
        own = [self.chip, self.lot, *(each.mask for each in self.labels.values())]
        return own if self.view is None else [*own, self.view]
