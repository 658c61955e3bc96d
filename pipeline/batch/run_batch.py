"""One batch of a county: what is ordered goes into the queue, and what waits there is worked on."""

from __future__ import annotations

from functools import partial

from detection.segmenters import build_segmenter, check_segmenter
from pipeline.batch.enqueue import enqueue, nothing_to_do
from pipeline.batch.label_selection import LabelSelection
from pipeline.batch.request import BatchRequest, ConfirmLots, NoProgress, Progress, SegmenterFactory
from pipeline.batch.result import BatchReport
from pipeline.open_county import open_county
from pipeline.settings import Settings, load_settings
from pipeline.store.database import open_database


def run_batch(
    order: BatchRequest,
    settings: Settings | None = None,
    progress: Progress | None = None,
    build: SegmenterFactory = build_segmenter,
    confirm: ConfirmLots = lambda _: None,
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
    progress = progress or NoProgress()
    opened = open_county(order.county, order.registry or settings.registry, settings.home)
    weights = order.weights or settings.sam3_weights
    if build is build_segmenter:
        check_segmenter(order.segmenter, weights)
    asked = LabelSelection(order, opened.county)
    with open_database(settings.database_url, settings.home) as database:
        queued = enqueue(database, opened, order, progress, confirm)
        if not queued.waiting:
            return nothing_to_do(database, opened, queued)
        # Where nothing is to do, nobody has to wait for rasterio, geopandas and the engines.
        from pipeline.batch.carry_out import carry_out

        segmenter = partial(build, order.segmenter, weights)
        return carry_out(database, opened, order, queued, asked, segmenter, settings, progress)
