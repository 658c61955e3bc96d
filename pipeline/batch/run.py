"""One batch of a county: what is to be done, everything it needs, then the work."""

from __future__ import annotations

import logging
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
from pipeline.batch.asked import AskedLabels
from pipeline.batch.batch import Batch
from pipeline.batch.engines.local import local_workplace
from pipeline.batch.order import Order, Progress, Silent
from pipeline.batch.recipe import kept_parcels
from pipeline.batch.report import BatchReport
from pipeline.counties import OpenCounty, open_county
from pipeline.errors import EmptyQueueError, PipelineError
from pipeline.properties_file import PropertiesFile, read_properties
from pipeline.settings import Settings, load_settings
from pipeline.store import properties as queue
from pipeline.store import runs
from pipeline.store.database import Database, open_database
from pipeline.store.status import county_status

log = logging.getLogger(__name__)

# The segmenter of a name, with its weights where it needs any.
Build = Callable[[str, str | None], Segmenter]


def run_batch(
    order: Order,
    settings: Settings | None = None,
    progress: Progress | None = None,
    build: Build = build_segmenter,
) -> BatchReport:
    """Do what an order asks for, and report.

    A property that cannot be answered never stops the others: it is in the report, with the
    reason. After Ctrl-C what was written stays, and the next run goes on from there.

    Args:
        build: makes the segmenter of the order's name and weights.

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
    source = order.properties or opened.county.properties
    file = read_properties(source) if source else None
    with open_database(settings.database_url, settings.home) as database:
        selection = _enqueue(database, opened, file)
        total = _waiting(database, opened, selection, order)
        if not total:
            return _nothing_to_do(database, opened, file, selection)
        # Whatever is wrong with these is found before a property is touched.
        imagery = open_imagery(opened.county.imagery, allow_private=opened.county.allow_private)
        kept = kept_parcels(opened.county, database)
        service = _open_service(opened.county, kept, progress)
        _make_folder(order.out)
        if order.segmenter != "spectral":
            progress.say(f"loading {order.segmenter}")
        place = local_workplace(
            partial(build, order.segmenter, weights), service, imagery, database.engine, total
        )
        labels = asked.of(place.facts.labels)
        check_labels(place.facts.name, place.facts.labels, labels)
        place.prepare(labels)
        if order.again:
            with database.engine.begin() as conn:
                queue.reset(conn, opened.county.key, selection, order.limit)
        batch = Batch(database, opened, order, place, labels, imagery, selection, progress)
        report = batch.run(file, total)
        if kept is None:
            return report
        return replace(
            report,
            questions_kept=kept.from_cache,
            questions_asked=kept.asked,
            copy_is_unchecked=kept.copy_is_unchecked,
        )


def _enqueue(
    database: Database, opened: OpenCounty, file: PropertiesFile | None
) -> list[str] | None:
    """Put the CSV's properties into the queue; the ids to work on, None for the whole county."""
    county = opened.county.key
    selection = None if file is None else [prop.property_id for prop in file.properties]
    with database.engine.begin() as conn:
        if file is not None:
            queue.load(conn, county, file.properties)
        taken_back = runs.take_back(conn, county)
        empty = not queue.states(conn, county)
    if taken_back:
        log.warning("a batch was killed; what it held waits again: %d of the queue", taken_back)
    if empty and not (file and file.bad_rows):
        raise EmptyQueueError(
            f"{opened.name} has no properties yet: name a CSV with PROPERTIES=leads.csv "
            "(columns property_id and longitude, latitude, or parcel_id, or address), or set "
            "`properties:` in the registry entry"
        )
    return selection


def _waiting(
    database: Database, opened: OpenCounty, selection: list[str] | None, order: Order
) -> int:
    """How many properties this batch is to work on."""
    county = opened.county.key
    with database.engine.connect() as conn:
        if order.again:
            asked = queue.states(conn, county, selection)
            waiting = sum(count for (state, _), count in asked.items() if state != "leased")
        else:
            waiting = queue.count_unprocessed(conn, county, selection)
    return waiting if order.limit is None else min(waiting, order.limit)


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


def _nothing_to_do(
    database: Database,
    opened: OpenCounty,
    file: PropertiesFile | None,
    selection: list[str] | None,
) -> BatchReport:
    with database.engine.connect() as conn:
        status = county_status(conn, opened.county.key)
        asked = queue.states(conn, opened.county.key, selection)
    return BatchReport(
        opened.name,
        opened.synthetic,
        None,
        {},
        asked,
        status,
        bad_rows=file.bad_rows if file else (),
        properties_file=file.path if file else None,
    )
