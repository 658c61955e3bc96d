"""One batch of a county: what is to be done, everything it needs, then the work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from detection import build_segmenter, open_imagery
from detection.detector import check_labels
from detection.segmenters import check_segmenter
from detection.segmenters.protocol import Segmenter
from parcels import County, ParcelBoundaryService
from parcels.errors import SourceUnavailable
from parcels.source import ParcelSource
from pipeline.batch.all_lots import Confirm
from pipeline.batch.asked import AskedLabels
from pipeline.batch.batch import Batch
from pipeline.batch.engines.local import local_workplace
from pipeline.batch.enqueue import enqueue, make_pending, nothing_to_do
from pipeline.batch.order import Order, Progress, Silent
from pipeline.batch.recipe import kept_parcels
from pipeline.batch.report import BatchReport
from pipeline.counties import open_county
from pipeline.errors import PipelineError
from pipeline.settings import Settings, load_settings
from pipeline.store.database import open_database

# The segmenter of a name, with its weights where it needs any.
Build = Callable[[str, str | None], Segmenter]


def run_batch(
    order: Order,
    settings: Settings | None = None,
    progress: Progress | None = None,
    build: Build = build_segmenter,
    confirm: Confirm = lambda _: None,
) -> BatchReport:
    """Do what an order asks for, and report.

    A property that cannot be answered never stops the others: it is in the report, with the
    reason. After Ctrl-C what was written stays, and the next run goes on from there.

    Args:
        build: makes the segmenter of the order's name and weights.
        confirm: told how many lots are to become properties, where that is ordered, before they
            do; it raises to stop that.

    Raises:
        ParcelsError, DetectionError, PipelineError: nothing can be done until something is mended.
    """
    settings = settings or load_settings()
    progress = progress or Silent()
    opened = open_county(order.county, order.registry or settings.registry, settings.home)
    weights = order.weights or settings.sam3_weights
    if build is build_segmenter:
        check_segmenter(order.segmenter, weights)
    asked = AskedLabels(order, opened.county)
    with open_database(settings.database_url, settings.home) as database:
        queued = enqueue(database, opened, order, progress, confirm)
        if not queued.waiting:
            return nothing_to_do(database, opened, queued)
        # Whatever is wrong with these is found before a property is touched.
        imagery = open_imagery(opened.county.imagery, allow_private=opened.county.allow_private)
        kept = kept_parcels(opened.county, database)
        service = _open_service(opened.county, kept, progress)
        _make_folder(order.out)
        if order.segmenter != "spectral":
            progress.say(f"loading {order.segmenter}")
        place = local_workplace(
            partial(build, order.segmenter, weights),
            service,
            imagery,
            database.engine,
            queued.waiting,
        )
        labels = asked.of(place.facts.labels)
        check_labels(place.facts.name, place.facts.labels, labels)
        place.prepare(labels)
        make_pending(database, opened.county, order, queued)
        batch = Batch(database, opened, order, place, labels, imagery, queued, progress)
        report = batch.run()
        if kept is None:
            return report
        return replace(
            report,
            questions_kept=kept.from_cache,
            questions_asked=kept.asked,
            copy_is_unchecked=kept.copy_is_unchecked,
        )


def _open_service(
    county: County, source: ParcelSource | None, progress: Progress
) -> ParcelBoundaryService:
    """The county's parcels; a server that is down is no mistake, and is met again at each lot."""
    service = ParcelBoundaryService(county, source)
    if source is not None:
        progress.say(f"asking {county.name}'s parcel server")
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
