"""`lotline corrections`: what people corrected, as training data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parcels.untrusted import sanitize_text
from pipeline.cli.options import registry_option
from pipeline.cli.output import echo
from pipeline.errors import StoreError
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from detection.registry.county import DetectionCounty
    from pipeline.learning.export_corrections import CorrectionsReport
    from pipeline.settings import Settings
    from pipeline.store.database import Database

# Skipped properties that the terminal shows.
_MAX_SHOWN = 20


@click.group()
def corrections() -> None:
    """What people corrected in reviews, as training data."""


@corrections.command()
@click.option(
    "--to", "address", required=True, metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Where to; AWS_ENDPOINT_URL names an S3 server that is not Amazon's.",
)  # fmt: skip
@click.option(
    "--county", "names", multiple=True, metavar="KEY",
    help="County; repeatable. All that have results by default.",
)  # fmt: skip
@registry_option
@click.option(
    "--block-m", type=float, default=250.0, show_default=True,
    help="Side of the blocks of ground that are training, validation or test as a whole.",
)  # fmt: skip
@click.option(
    "--validation", type=float, default=0.15, show_default=True,
    help="Fraction of the blocks for validation.",
)  # fmt: skip
@click.option(
    "--test", type=float, default=0.15, show_default=True,
    help="Fraction of the blocks for the test, beside those of the audit queue.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the division.")
def export(
    address: str,
    names: tuple[str, ...],
    registry: Path | None,
    block_m: float,
    validation: float,
    test: float,
    seed: int,
) -> None:
    """Export fully reviewed properties as chips and masks.

    For each chip of a property, the pixels that the segmenter saw and a mask for each label, with
    the lot, the prompts and the review events; also as COCO files. Exporting again adds what is
    new. Exits with 1 if a property had to be skipped.
    """
    from pipeline.cli.progress import TotalProgress, progress
    from pipeline.learning.export_corrections import export_corrections
    from pipeline.learning.spatial_split import SplitRule
    from pipeline.settings import load_settings
    from pipeline.store.database import open_existing
    from pipeline.store.objects.folder_or_bucket import open_objects

    try:
        rule = SplitRule(block_m, validation, test, seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    settings = load_settings()
    objects = open_objects(address)
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise StoreError("nothing is reviewed yet: run `lotline batch`, then `lotline review`")
        counties = reviewed_counties(database, settings, names, registry or settings.registry)
        shown = TotalProgress(progress("properties"), "exporting")
        try:
            report = export_corrections(database.engine, counties, objects, rule, shown.update)
        finally:
            shown.stop()
    show_export(report, objects.address)
    if report.skipped:
        sys.exit(1)


def reviewed_counties(
    database: Database, settings: Settings, names: tuple[str, ...], registry: Path | None
) -> list[DetectionCounty]:
    """The counties with these names, else all that have results."""
    from pipeline.open_county import open_county
    from pipeline.store.counties import bound_registry, check_county
    from pipeline.store.reads.property_view import counties_of

    with database.engine.connect() as conn:
        wanted = names or tuple(str(row["county"]) for row in counties_of(conn))
        files = {name: registry or bound_registry(conn, name) for name in wanted}
        opened = [open_county(name, files[name], settings.home) for name in wanted]
        for each in opened:
            check_county(conn, each.entry)
    return [each.county for each in opened]


def show_export(report: CorrectionsReport, address: str) -> None:
    """Print what an export wrote, and what it skipped."""
    for skipped in report.skipped[:_MAX_SHOWN]:
        name = sanitize_text(skipped.property_id)
        echo(f"skipped {skipped.county} {name}: {sanitize_text(skipped.why, 600)}", err=True)
    if (more := len(report.skipped) - _MAX_SHOWN) > 0:
        echo(f"… and {more:,} more", err=True)
    counts = report.manifest.counts()
    if not report.manifest.pairs:
        echo("no property is fully reviewed: mark some in `lotline review`, then export again")
        return
    echo(
        f"{count_of(len(report.manifest.pairs), 'pairs')} in {address}: "
        + ", ".join(f"{count:,} {split}" for split, count in counts.items())
        + f"; {report.new:,} new, {report.removed:,} removed"
    )
    if report.sha256 is None:
        echo("the manifest is as before")
    for split, count in counts.items():
        if not count:
            echo(
                f"no pair is {split}: review lots in more places, or divide by smaller blocks "
                "(--block-m)",
                err=True,
            )
    if report.swept:
        echo(f"{count_of(report.swept, 'files')} of exports that did not end were removed")
