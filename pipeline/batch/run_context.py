"""What one run works with in the driver process. Workers get a `StageContext` instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detection.county_labels import CountyLabels
from detection.registry.county import DetectionCounty
from pipeline.batch.enqueue import EnqueueResult
from pipeline.batch.request import BatchRequest, Progress
from pipeline.open_county import OpenCounty
from pipeline.settings import Settings
from pipeline.store.database import Database

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter

BuildSegmenter = Callable[[], "Segmenter"]


@dataclass(frozen=True, slots=True)
class RunContext:
    """Everything that is known of a run before its segmenter is loaded.

    Attributes:
        request: what the caller wants.
        opened: the county; a synthetic one has been generated.
        labels: the county's and the request's; which ones apply depends on the segmenter.
        enqueued: the properties to work on.
        build_segmenter: builds the request's segmenter; can be sent to another process.
        expected_weights: the hash by which stale properties were found; None without any.
    """

    request: BatchRequest
    settings: Settings
    progress: Progress
    database: Database
    opened: OpenCounty
    labels: CountyLabels
    enqueued: EnqueueResult
    build_segmenter: BuildSegmenter
    expected_weights: str | None = None

    @property
    def county(self) -> DetectionCounty:
        """The county's registry entry."""
        return self.opened.county
