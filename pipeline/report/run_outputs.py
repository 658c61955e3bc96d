"""Outputs of a finished run: the PNG map, the report files, and errors against known truth."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from detection.clip import LotLines
from detection.imagery.interface import ImagerySource
from detection.results import FULL_COVERAGE_FRACTION
from detection.sample import LawnErrors, lawn_errors, true_areas_m2
from pipeline.errors import PipelineError
from pipeline.open_county import OpenCounty
from pipeline.report import RunReport, build_report
from pipeline.report.advice import SYNTHETIC_NOTE, segmenter_notes
from pipeline.report.map_imagery import MapImagery
from pipeline.report.page_extras import load_extras
from pipeline.report.write_report import write_files
from pipeline.store.database import Database
from pipeline.store.reads import row_cursors
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.runs import lifecycle

log = logging.getLogger(__name__)

# A picture cannot show more, and all of them are in memory at once.
MAX_DRAWN = 1_000


def draw_map(
    database: Database,
    opened: OpenCounty,
    run: RunInfo,
    imagery: ImagerySource,
    lines: LotLines,
    path: Path,
) -> Path | None:
    """Draw lots and detections of a run as a PNG; None where no imagery covers them."""
    # Deferred, because importing matplotlib is slow.
    from pipeline.report.map_png import map_png

    county = opened.county
    with database.engine.connect() as conn:
        lots = row_cursors.run_boundaries(conn, county.key, run.id, MAX_DRAWN + 1)
        is_all = len(lots) <= MAX_DRAWN
        lots = lots.head(MAX_DRAWN)
        found = list(row_cursors.iter_detections(conn, county.key, list(lots["property_id"])))
    detections = pd.concat(found, ignore_index=True)
    notes = [SYNTHETIC_NOTE] if opened.synthetic else []
    # Detections of an earlier run remain where this run has other labels.
    notes += segmenter_notes(sorted(set(detections["segmenter"]) - {"person"}))
    if lines.offset_m != (0.0, 0.0):
        east_m, north_m = lines.offset_m
        notes.append(f"Lots are shifted onto the imagery: {east_m:g} m east, {north_m:g} m north.")
    if not is_all:
        notes.append(f"Shows only {MAX_DRAWN:,} neighbouring boundaries of the run.")
    title = f"{opened.name}: run {run.id}"
    footnote = " ".join(notes)
    return path if map_png(path, lots, detections, imagery, title, footnote, lines) else None


def write_run_report(
    database: Database, run_id: int, folder: Path | None, imagery: MapImagery | None = None
) -> tuple[RunReport, Path | None]:
    """The report of a run, and the path of its page where one was written.

    Nothing is written without a folder, or for a run that processed no property: it would
    overwrite the files of one that did. A file that cannot be written is only a warning, because
    the results are in the database.
    """
    with database.engine.connect() as conn:
        run = lifecycle.get_run(conn, run_id)
        report = build_report(conn, run)
        if folder is None or not report.properties:
            return report, None
        extras = load_extras(conn, run, imagery)
    try:
        return report, write_files(report, extras, folder)
    except PipelineError as error:
        log.warning(
            "%s: `lotline runs show %d --html FILE` writes its page elsewhere", error, run_id
        )
        return report, None


def lawn_errors_of_county(database: Database, opened: OpenCounty) -> LawnErrors | None:
    """Errors of the measured lawns of fully imaged lots; None where the truth is unknown."""
    if opened.truth is None:
        return None
    measured: dict[str, float] = {}
    with database.engine.connect() as conn:
        for frame in row_cursors.iter_properties(conn, opened.county.key):
            if "lawn_m2" not in frame:
                continue
            imaged = (frame["source"] == "lot") & (
                frame["coverage_fraction"] >= FULL_COVERAGE_FRACTION
            )
            lawns = frame[imaged & frame["lawn_m2"].notna()]
            for parcel_ids, lawn_m2 in zip(lawns["parcel_ids"], lawns["lawn_m2"], strict=True):
                measured.update(dict.fromkeys(parcel_ids, float(lawn_m2)))
    return lawn_errors(true_areas_m2(opened.truth, "lawn"), measured) if measured else None
