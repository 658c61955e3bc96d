"""`lotline detect`: labels on images of one's own, without a county or a database."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.batch import NameListType
from pipeline.cli.options import setting
from pipeline.cli.output import echo, print_message
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from pipeline.detect import DetectRequest, ImageOutcome

# A line about a long image, at most this often.
_TOLD_EVERY_S = 10.0


@click.command()
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME[=PROMPT]",
    help='Label to detect: lawn, or "trampoline=round backyard trampoline". Repeatable; by '
    "default all labels of the segmenter.",
)
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="Detect what a text names; for segmenters with text prompts. Repeatable.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/detect"),
    show_default=True,
    help="Folder of the results.",
)
@setting("segmenter")
@setting("sam3_weights", "--weights", "weights")
@setting("landcover_weights", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--gsd-m",
    type=click.FloatRange(min=0.001, max=100.0),
    metavar="METRES",
    help="Ground sample distance of images without georeference, in metres a pixel.",
)
@click.option(
    "--bands",
    type=NameListType(),
    help="Names of the images' bands, from the first: red,green,blue,nir.",
)
@click.option(
    "--crs",
    metavar="EPSG:N",
    help="CRS of images that have a place, as from a world file, but do not say in which CRS.",
)
@click.option("--again", is_flag=True, help="Repeat images whose results are there already.")
def detect(
    images: tuple[str, ...],
    labels: tuple[str, ...],
    prompts: tuple[str, ...],
    out: Path,
    segmenter: str,
    weights: str | None,
    landcover_weights: Path | None,
    gsd_m: float | None,
    bands: list[str] | None,
    crs: str | None,
    again: bool,
) -> None:
    """Detect labels on images: files, folders or globs; no county and no database.

    For each image NAME it writes a mask of each label (NAME.LABEL.mask.tif: 1 inside, 0 outside,
    255 where the image has no pixels), the polygons (NAME.geojson) and a picture
    (NAME.overlay.png), and for all of them summary.json. Images whose results are there are
    skipped, so the same command continues after an interruption.
    """
    from detection.segmenters import build_segmenter, check_segmenter, supported_labels
    from pipeline.detect import DetectRequest, detect_images
    from pipeline.detect.chosen_labels import labels_of
    from pipeline.detect.image_list import find_images
    from pipeline.settings import load_settings, weights_of

    chosen_weights = weights_of(segmenter, weights, landcover_weights)
    chosen_weights = chosen_weights or load_settings().weights_of(segmenter)
    check_segmenter(segmenter, chosen_weights)
    chosen = labels_of(labels, prompts, segmenter, supported_labels(segmenter))
    request = DetectRequest(
        tuple(find_images(images)), out, chosen, gsd_m, tuple(bands or ()), _checked_crs(crs), again
    )
    print_message(f"loading {segmenter}")
    built = build_segmenter(segmenter, chosen_weights)
    outcomes: list[ImageOutcome] = []
    started_s = time.monotonic()
    try:
        for outcome in detect_images(request, built, _ChipProgress(len(request.images))):
            outcomes.append(outcome)
            _print_outcome(outcome)
    except KeyboardInterrupt:
        print_message(
            f"{count_of(len(outcomes), 'images')} of {len(request.images):,} finished; results are "
            f"in {out}. The same command continues",
            logging.WARNING,
        )
        raise
    _print_end(request, built.name, outcomes, time.monotonic() - started_s)
    sys.exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


def _checked_crs(text: str | None) -> str | None:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return None if text is None else str(CRS.from_user_input(text).to_string())
    except CRSError as error:
        raise click.BadParameter(
            f"{text!r} is not a CRS; write its EPSG code, for example EPSG:26911",
            param_hint="'--crs'",
        ) from error


class _ChipProgress:
    """Says now and then how far a long image is."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._told_s = time.monotonic()

    def __call__(self, image: Path, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._told_s >= _TOLD_EVERY_S:
            self._told_s = now
            print_message(f"{image}: {done:,} of {count_of(total, 'chips')}")


def _print_outcome(outcome: ImageOutcome) -> None:
    if outcome.status == "failed":
        error = outcome.error
        text = error if error.startswith(str(outcome.image)) else f"{outcome.image}: {error}"
        print_message(text, logging.ERROR)
        return
    found = []
    for label, count in outcome.objects.items():
        area_m2 = outcome.areas_m2[label]
        found.append(f"{label} {count:,}" + ("" if area_m2 is None else f" ({area_m2:,.0f} m²)"))
    if outcome.coverage_fraction is not None and outcome.coverage_fraction < 1:
        found.append(f"no pixels on {_percent(1 - outcome.coverage_fraction)} of the image")
    skipped = " (was done before; --again repeats it)" if outcome.status == "skipped" else ""
    echo(f"{outcome.image}: {', '.join(found)}{skipped}")


def _percent(fraction: float) -> str:
    return "less than 1 %" if fraction < 0.01 else f"{fraction:.0%}".replace("%", " %")


def _print_end(
    request: DetectRequest, segmenter: str, outcomes: Sequence[ImageOutcome], took_s: float
) -> None:
    from pipeline.detect.run_images import SUMMARY
    from pipeline.report.advice import caveats

    notes = Counter(note for outcome in outcomes for note in outcome.notes)
    for note, count in notes.items():
        of = "" if len(outcomes) == 1 else f"{count_of(count, 'images')}: "
        echo(f"  {of}{note}")
    prompts = {label.name: label.prompt for label in request.labels}
    for caveat in caveats([segmenter], prompts, prompts, synthetic=False):
        echo(f"  {caveat}")
    states = Counter(outcome.status for outcome in outcomes)
    told = ", ".join(
        f"{states[key]:,} {key}" for key in ("done", "skipped", "failed") if states[key]
    )
    echo(
        f"{count_of(len(outcomes), 'images')} in {took_s:.0f} s: {told}. "
        f"Results and {SUMMARY} are in {request.out}"
    )
