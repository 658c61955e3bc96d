"""`lotline batch`: process a county's properties and print a report."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from pipeline.bbox import BBox, parse_bbox
from pipeline.cli.options import PositiveInt, county_option, registry_option, setting
from pipeline.settings import MAX_COUNT


class NameListType(click.ParamType[list[str]]):
    """A comma-separated list of names."""

    name = "a,b,c"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> list[str]:
        """Split and strip."""
        if isinstance(value, list | tuple):  # from the settings file
            return list(value)
        return [name.strip() for name in str(value).split(",") if name.strip()]


class SemicolonText(click.ParamType[str]):
    """A text; the environment variable holds several, separated by semicolons."""

    name = "name=prompt"

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split at semicolons; empty parts are dropped."""
        return [text for text in rv.split(";") if text.strip()]


class BBoxType(click.ParamType[BBox]):
    """A bounding box in degrees."""

    name = "west,south,east,north"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BBox:
        """Parse; see `parse_bbox`."""
        if isinstance(value, tuple):  # from the settings file
            return value
        try:
            return parse_bbox(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@county_option
@registry_option
@setting("properties", type=click.Path(path_type=Path))
@setting("labels", type=NameListType())
@setting("label", "--label", "own_labels", type=SemicolonText(), multiple=True)
@setting("segmenter")
@setting("sam3_weights", "--weights", "weights")
@setting("landcover_weights", type=click.Path(path_type=Path, file_okay=False))
@setting("engine")
@setting("limit", type=PositiveInt(min=1, max=MAX_COUNT))
@setting("bbox", type=BBoxType())
@setting("again")
@setting("stale")
@setting("retry_failed")
@setting("all_lots")
@setting("yes")
@setting("when_unavailable")
@setting("out", type=click.Path(path_type=Path, file_okay=False))
def batch(
    county: str,
    registry: Path | None,
    properties: Path | None,
    labels: list[str] | None,
    own_labels: tuple[str, ...],
    segmenter: str,
    weights: str | None,
    landcover_weights: Path | None,
    engine: str,
    limit: int | None,
    bbox: BBox | None,
    again: bool,
    stale: bool,
    retry_failed: bool,
    all_lots: bool,
    yes: bool,
    when_unavailable: str,
    out: Path | None,
) -> None:
    """Process a county's properties and store their measurements.

    Fetches each property's boundary, detects the labels inside it and measures their areas. Without
    --properties, the properties are those of the CSV in the county's registry entry, or else those
    pending in the county's queue. After an interruption, the same command resumes.
    """
    from pipeline.batch import BatchRequest, run_batch
    from pipeline.cli.batch_result import print_report
    from pipeline.cli.progress import progress
    from pipeline.cli.stored import find_stored_county
    from pipeline.cli.supervisor import is_child_needed, run_supervised
    from pipeline.exit_codes import INTERRUPTED
    from pipeline.settings import load_settings, weights_of

    key = find_stored_county(county, registry, load_settings()).key
    request = BatchRequest(
        county=county,  # as written: a county of a similar name is refused
        registry=registry,
        properties=properties,
        labels=tuple(labels or ()),
        own_labels=own_labels,
        segmenter=segmenter,
        weights=weights_of(segmenter, weights, landcover_weights),
        engine="ray" if engine == "ray" else "local",
        limit=limit,
        again=again,
        stale=stale,
        retry_failed=retry_failed,
        bbox=bbox,
        all_lots=all_lots,
        when_unavailable="buffer" if when_unavailable == "buffer" else "defer",
        out=out or Path("out") / key,
    )

    def work() -> int:
        report = run_batch(request, progress=progress(), confirm=partial(_confirm, yes))
        print_report(report)
        return INTERRUPTED if report.interrupted else report.exit_code

    sys.exit(run_supervised(work) if is_child_needed(engine) else work())


def _confirm(yes: bool, question: str) -> None:
    """Ask the user to confirm, unless --yes was given.

    Raises:
        UsageError: stdin is not a terminal.
        Abort: the user declined.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} To confirm without a terminal, pass --yes (YES=1).")
    click.confirm(f"{question} Continue?", abort=True, err=True)
