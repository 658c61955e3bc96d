"""`run_batch`, the entry point: enqueue the request, work through the queue, report."""

from __future__ import annotations

from functools import partial

from detection.county_labels import CountyLabels
from detection.registry.county import DetectionCounty
from detection.registry.imagery_entry import ImageryEntry
from detection.segmenters import build_segmenter, check_segmenter, supported_labels
from pipeline.batch.asked_labels import asked_labels
from pipeline.batch.enqueue import enqueue
from pipeline.batch.request import BatchRequest, ConfirmLots, NoProgress, Progress, SegmenterFactory
from pipeline.batch.result import BatchReport
from pipeline.batch.run_context import BuildSegmenter, RunContext
from pipeline.batch.shared_settings import are_all_known, shared_settings
from pipeline.batch.stale_work import stale_weights, weights_in_use
from pipeline.errors import ModelError
from pipeline.open_county import OpenCounty, open_county
from pipeline.settings import Settings, load_settings
from pipeline.store.counties import bind_county
from pipeline.store.database import Database, open_database
from pipeline.store.models.champion_holder import ChampionHolder
from pipeline.store.models.promoted_segmenter import MODEL_CACHE, ChampionBuilder
from pipeline.store.models.versions import champions
from pipeline.store.models.weights_source import is_exact
from pipeline.store.queue import states as queue
from pipeline.store.reads.county_status import queue_status


def run_batch(
    request: BatchRequest,
    settings: Settings | None = None,
    progress: Progress | None = None,
    build: SegmenterFactory = build_segmenter,
    confirm: ConfirmLots = lambda _: None,
    holder: ChampionHolder | None = None,
) -> BatchReport:
    """Run one batch of a county.

    A property that fails never stops the others: it is in the report, with the reason. After
    Ctrl-C everything written stays, and the next run continues from there.

    Args:
        settings: None loads them from lotline.toml and the environment.
        progress: None shows none.
        build: builds the segmenter from the request's name and weights.
        confirm: called with the number of lots before `all_lots` makes them properties; raises
            to cancel.
        holder: of a process that runs many batches: the segmenter stays loaded between them, and
            each batch has the champion of its start. Not for weights that are named, nor for Ray,
            whose workers load it themselves.

    Raises:
        ParcelsError, DetectionError, PipelineError: nothing can be done until the cause is fixed.
    """
    settings = settings or load_settings()
    progress = progress or NoProgress()
    opened = open_county(request.county, request.registry or settings.registry, settings.home)
    weights = request.weights or settings.weights_of(request.segmenter)
    if build is build_segmenter:
        check_segmenter(request.segmenter, weights)
    labels = CountyLabels(opened.county, request.labels, request.own_labels)
    found = None
    if build is build_segmenter:
        found = labels.for_segmenter(request.segmenter, supported_labels(request.segmenter))
    shared = shared_settings(opened.county, request, found)
    asked = asked_labels(labels, request.segmenter if build is build_segmenter else None)
    with open_database(settings.database_url, settings.home) as database:
        _bind(database, opened, progress)
        build_named: BuildSegmenter = partial(build, request.segmenter, weights)
        if not is_exact(request.segmenter, weights) and build is build_segmenter:
            if holder is not None and request.engine == "local":
                build_named = _current_of(holder, request.segmenter)
            else:
                build_named = _champion_or(build_named, database, request, weights, settings)
        expected, stale = None, None
        if request.stale:
            build_named, expected = weights_in_use(build_named, request)
            stale = stale_weights(
                database, opened, request.segmenter, expected, asked or labels, progress
            )
        context = RunContext(
            request,
            settings,
            progress,
            database,
            opened,
            labels,
            enqueue(database, opened, request, progress, confirm, asked, shared, stale),
            build_named,
            expected,
        )
        enqueued = context.enqueued
        # Beside other batches, only the segmenter shows whether they do what this one asks for.
        if not enqueued.waiting and (are_all_known(shared) or not enqueued.is_beside):
            return _report_nothing_to_do(context)
        # A lazy import: without work, rasterio, geopandas and the engines are not loaded.
        from pipeline.batch.runner import run

        return run(context)


def _bind(database: Database, opened: OpenCounty, progress: Progress) -> None:
    """Bind the county in the database to the entry's source, or refuse another county's results.

    A new county whose entry names files that do not exist is refused before the database has it.
    """
    with database.engine.begin() as conn:
        binding = bind_county(conn, opened.entry)
        if binding == "new":
            _check_files(opened.county)
    if binding == "adopted":
        progress.message(
            f"{opened.name} has results of an earlier version of Lotline; from now on they belong "
            f"to {opened.entry.source.description}"
        )


def _check_files(county: DetectionCounty) -> None:
    # Lazy imports: only the first batch of a county loads rasterio and geopandas here.
    from detection.imagery.file_list import imagery_files
    from parcels.files.parcel_file import parcel_file_path

    if county.path is not None:
        parcel_file_path(county)
    if isinstance(county.imagery, ImageryEntry) and county.imagery.path is not None:
        imagery_files(county.imagery.path)


def _champion_or(
    own: BuildSegmenter,
    database: Database,
    request: BatchRequest,
    base: str | None,
    settings: Settings,
) -> BuildSegmenter:
    """Builds a segmenter with its champion's weights; with its own where none was promoted."""
    with database.engine.connect() as conn:
        found = tuple(champions(conn, request.segmenter))
    if not found:
        return own
    cache = settings.home / MODEL_CACHE
    return ChampionBuilder(request.segmenter, found, cache, database.url, base)


def _current_of(holder: ChampionHolder, segmenter: str) -> BuildSegmenter:
    if holder.name != segmenter:
        raise ModelError(f"the holder has {holder.name}, and the batch is to use {segmenter}")
    return holder.current


def _report_nothing_to_do(context: RunContext) -> BatchReport:
    enqueued = context.enqueued
    with context.database.engine.connect() as conn:
        return BatchReport(
            context.opened.name,
            context.opened.synthetic,
            None,
            selected_by_state=queue.count_states(conn, context.county.key, enqueued.selection),
            status=queue_status(conn, context.county.key, enqueued.selection),
            bad_rows=enqueued.bad_rows,
            properties_file=enqueued.properties_file,
            understood=enqueued.understood,
            rejected_path=enqueued.rejected_path,
        )
