"""A batch that has something to do: everything it needs, then the work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from detection import open_imagery
from detection.detector import check_labels
from detection.segmenters.interface import Segmenter
from parcels import County, ParcelBoundaryService
from parcels.cache import CachedSource
from parcels.errors import SourceUnavailable
from parcels.parcel_source import ParcelSource
from pipeline.batch.engines.local import local_runtime
from pipeline.batch.engines.ray import ray_runtime
from pipeline.batch.enqueue import EnqueueResult, make_pending
from pipeline.batch.label_selection import LabelSelection
from pipeline.batch.request import BatchRequest, Progress
from pipeline.batch.result import BatchReport
from pipeline.batch.run_context import cached_parcels
from pipeline.batch.runner import BatchRunner
from pipeline.errors import PipelineError
from pipeline.open_county import OpenCounty
from pipeline.settings import Settings
from pipeline.store.database import Database


def carry_out(
    database: Database,
    opened: OpenCounty,
    order: BatchRequest,
    queued: EnqueueResult,
    asked: LabelSelection,
    build: Callable[[], Segmenter],
    settings: Settings,
    progress: Progress,
) -> BatchReport:
    """Work on what waits, and report.

    Raises:
        ParcelsError, DetectionError, PipelineError: nothing can be done until something is mended.
    """
    # Whatever is wrong with these is found before a property is touched.
    imagery = open_imagery(opened.county.imagery, allow_private=opened.county.allow_private)
    kept = cached_parcels(opened.county, database, progress)
    service = _open_service(opened.county, kept, progress)
    _make_folder(order.out)
    if order.segmenter != "spectral":
        progress.message(f"loading {order.segmenter}")
    with ExitStack() as stack:
        if order.engine == "ray":
            where = settings.ray_address, settings.ray_gpus_per_worker
            place = stack.enter_context(ray_runtime(build, *where))
        else:
            place = local_runtime(build, service, imagery, database.engine, queued.waiting)
        labels = asked.of(place.facts.labels)
        check_labels(place.facts.name, place.facts.labels, labels)
        place.prepare(labels)
        make_pending(database, opened.county, order, queued)
        batch = BatchRunner(database, opened, order, place, labels, imagery, queued, progress)
        report = batch.run()
    if not isinstance(kept, CachedSource):
        return report  # of a file: no server was spared a question
    return replace(
        report,
        parcel_cache_hits=kept.from_cache,
        parcel_requests=kept.asked,
        snapshot_is_unverified=kept.copy_is_unchecked,
    )


def _open_service(
    county: County, source: ParcelSource | None, progress: Progress
) -> ParcelBoundaryService:
    """The county's parcels; a server that is down is no mistake, and is met again at each lot."""
    service = ParcelBoundaryService(county, source)
    if county.source == "arcgis":
        progress.message(f"asking {county.name}'s parcel server")
    with suppress(SourceUnavailable):
        service.check()
    return service


def _make_folder(out: Path | None) -> None:
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(
            f"{out} cannot be made ({error.strerror}): name another folder with OUT="
        ) from error
