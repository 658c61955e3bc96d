"""`lotline batch`: work on a county's queue, and say what came of it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from pipeline.bbox import BBox, parse_bbox
from pipeline.cli.options import PositiveInt, county_option, registry_option, setting


class NameListType(click.ParamType[list[str]]):
    """Names with commas between them."""

    name = "a,b,c"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> list[str]:
        """Split; white space round a name does not count."""
        if isinstance(value, list | tuple):  # of the settings file
            return list(value)
        return [name.strip() for name in str(value).split(",") if name.strip()]


class SemicolonText(click.ParamType[str]):
    """A text; in the environment several, with semicolons between them."""

    name = "name=prompt"

    def split_envvar_value(self, rv: str) -> list[str]:
        """The texts; what is empty between two semicolons is none."""
        return [text for text in rv.split(";") if text.strip()]


class BBoxType(click.ParamType[BBox]):
    """A box on the map."""

    name = "west,south,east,north"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BBox:
        """Read; see `parse_bbox`."""
        if isinstance(value, tuple):  # of the settings file
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
@setting("engine")
@setting("limit", type=PositiveInt(min=1))
@setting("bbox", type=BBoxType())
@setting("again")
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
    engine: str,
    limit: int | None,
    bbox: BBox | None,
    again: bool,
    retry_failed: bool,
    all_lots: bool,
    yes: bool,
    when_unavailable: str,
    out: Path | None,
) -> None:
    """Fetch boundaries, detect inside them, and keep what was measured.

    Without --properties it takes the county's own CSV, or what is unprocessed in its queue.
    """
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.batch import BatchRequest, run_batch
    from pipeline.cli.batch_summary import print_report
    from pipeline.cli.progress import progress
    from pipeline.settings import load_settings

    key = load_registry(registry or load_settings().registry, DetectionCounty).key_of(county)
    order = BatchRequest(
        county=key,
        registry=registry,
        properties=properties,
        labels=tuple(labels or ()),
        own_labels=own_labels,
        segmenter=segmenter,
        weights=weights,
        engine="ray" if engine == "ray" else "local",
        limit=limit,
        again=again,
        retry_failed=retry_failed,
        bbox=bbox,
        all_lots=all_lots,
        when_unavailable="buffer" if when_unavailable == "buffer" else "defer",
        out=out or Path("out") / key,
    )
    report = run_batch(order, progress=progress(), confirm=partial(_confirm, yes))
    print_report(report)
    sys.exit(130 if report.interrupted else report.exit_code)


def _confirm(yes: bool, question: str) -> None:
    """Ask a person, unless that was answered before.

    Raises:
        UsageError: nobody is there to be asked.
        Abort: they would rather not.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question} Nobody can be asked, as this is no terminal: add --yes (YES=1) to go on."
        )
    click.confirm(f"{question} Go on?", abort=True, err=True)
