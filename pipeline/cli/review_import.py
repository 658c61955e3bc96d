"""`lotline review import`: corrections that people made in other programs."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from parcels.untrusted import sanitize_text
from pipeline.cli.options import county_option, registry_option
from pipeline.cli.output import echo
from pipeline.errors import StoreError
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from pipeline.review.corrections.import_corrections import ImportReport

# Refusals that the terminal shows; the file has all.
_MAX_SHOWN = 20


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@county_option
@registry_option
@click.option(
    "--by", "reviewer", default=getpass.getuser,
    help="Reviewer whose corrections these are; your user name by default.",
)  # fmt: skip
@click.option(
    "--label-map", "label_maps", multiple=True, metavar="NAME=LABEL|FILE",
    help="Label for a name in the file, or a YAML file of `name: label`; repeatable.",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(path_type=Path),
    help="Folder of a COCO file's images, as GeoTIFFs or with world files.",
)  # fmt: skip
@click.option("--crs", help="CRS of images whose files do not name it, such as EPSG:32611.")
@click.option(
    "--missing", type=click.Choice(["keep", "reject"]), default="keep", show_default=True,
    help="What becomes of proposals that the file lacks, on properties that it has.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Report what would be imported; store nothing.")
def import_file(
    file: Path,
    county: str,
    registry: Path | None,
    reviewer: str,
    label_maps: tuple[str, ...],
    images: Path | None,
    crs: str | None,
    missing: Literal["keep", "reject"],
    dry_run: bool,
) -> None:
    """Import corrections made elsewhere as reviews.

    FILE is GeoJSON that `lotline export` wrote and a person changed (QGIS), or COCO (CVAT, Label
    Studio). What is refused is written beside it, to be corrected and imported again. Exits with 1
    if something was refused, and with 2 if the file cannot be used.
    """
    from detection.county_labels import CountyLabels
    from detection.county_settings import lot_lines
    from pipeline.cli.stored import find_stored_county
    from pipeline.review.corrections.import_corrections import ImportRequest, import_corrections
    from pipeline.review.corrections.label_names import LabelNames, read_label_maps
    from pipeline.review.corrections.read_file import read_corrections
    from pipeline.review.corrections.refused_file import write_refused
    from pipeline.settings import load_settings
    from pipeline.store.counties import check_county
    from pipeline.store.database import open_existing
    from pipeline.store.reads.corrected import labels_of
    from pipeline.store.reviews.outline_checks import OutlineRules

    settings = load_settings()
    found = find_stored_county(county, registry, settings)
    renamed = read_label_maps(label_maps)
    corrections = read_corrections(file, images, crs)
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise StoreError("there is nothing to correct yet: run `lotline batch` first")
        with database.engine.connect() as conn:
            check_county(conn, found)
            stored = labels_of(conn, found.key)
        known = CountyLabels(found.county).known
        rules = OutlineRules(known, lot_lines(found.county))
        name = sanitize_text(file.name)
        request = ImportRequest(found.key, reviewer, name, rules, missing == "reject", dry_run)
        labels = LabelNames([*known, *stored], renamed)
        report = import_corrections(database.engine, corrections, labels, request)
    _show(report, dry_run)
    written = write_refused(file, report.refused)
    if written is not None:
        echo(f"{count_of(len(report.refused), 'objects')} refused: {written}", err=True)
        sys.exit(1)


def _show(report: ImportReport, dry_run: bool) -> None:
    for refusal in report.refused[:_MAX_SHOWN]:
        echo(f"{refusal.correction.where}: {sanitize_text(refusal.why, 600)}", err=True)
    if (more := len(report.refused) - _MAX_SHOWN) > 0:
        echo(f"… and {more:,} more", err=True)
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(report.done.items()))
    echo(f"{'would be imported' if dry_run else 'imported'}: {counts or 'nothing'}")
    if report.left_out:
        echo(
            f"{count_of(report.left_out, 'detections')} of the file's properties are not in the "
            "file and stay; --missing reject rejects them"
        )
