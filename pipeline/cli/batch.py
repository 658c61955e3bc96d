"""`lotline batch`: work on a county's queue, and say what came of it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.options import county_option, registry_option


class Names(click.ParamType[list[str]]):
    """Names with commas between them."""

    name = "a,b,c"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> list[str]:
        """Split; white space round a name does not count."""
        if isinstance(value, list):
            return value
        return [name.strip() for name in str(value).split(",") if name.strip()]


class Several(click.ParamType[str]):
    """A text; in the environment several, with semicolons between them."""

    name = "name=prompt"

    def split_envvar_value(self, rv: str) -> list[str]:
        """The texts; what is empty between two semicolons is none."""
        return [text for text in rv.split(";") if text.strip()]


@click.command()
@county_option
@registry_option
@click.option(
    "--properties", envvar="PROPERTIES", type=click.Path(path_type=Path),
    help="A CSV: property_id and longitude, latitude, or a parcel_id, or an address.",
)  # fmt: skip
@click.option("--labels", envvar="LABELS", type=Names(), help="Which labels; all by default.")
@click.option(
    "--label", "own_labels", envvar="LABEL", type=Several(), multiple=True,
    help='A label of your own, too: "trampoline=round backyard trampoline". Repeatable.',
)  # fmt: skip
@click.option(
    "--segmenter", envvar="SEGMENTER", default="spectral", show_default=True,
    help="What looks at the imagery: sam3 (needs weights), sam3-tiny (trained on synthetic "
    "pictures alone) or spectral (a baseline without weights).",
)  # fmt: skip
@click.option(
    "--weights", envvar="SAM3_WEIGHTS",
    help="Of sam3: a folder, a file (.safetensors, sam3.pt) or a hub id (facebook/sam3).",
)  # fmt: skip
@click.option(
    "--engine", envvar="ENGINE", type=click.Choice(["local"]), default="local",
    show_default=True, help="Where the stages run.",
)  # fmt: skip
@click.option("--limit", envvar="LIMIT", type=click.IntRange(min=1), help="At most so many.")
@click.option("--again", envvar="AGAIN", is_flag=True, help="Also those that are done.")
@click.option(
    "--when-unavailable", envvar="WHEN_UNAVAILABLE", type=click.Choice(["defer", "buffer"]),
    default="defer", show_default=True,
    help="Where the county's server does not answer: leave for later, or measure a 30 m buffer.",
)  # fmt: skip
@click.option(
    "--out", envvar="OUT", type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the map; out/COUNTY by default.",
)  # fmt: skip
def batch(
    county: str,
    registry: Path | None,
    properties: Path | None,
    labels: list[str] | None,
    own_labels: tuple[str, ...],
    segmenter: str,
    weights: str | None,
    engine: str,  # noqa: ARG001  one choice until Ray is another
    limit: int | None,
    again: bool,
    when_unavailable: str,
    out: Path | None,
) -> None:
    """Fetch boundaries, detect inside them, and keep what was measured.

    Without --properties it takes the county's own CSV, or what is unprocessed in its queue.
    """
    from parcels import load_registry
    from pipeline.batch import Order, run_batch
    from pipeline.cli.progress import progress
    from pipeline.cli.summary import print_report
    from pipeline.settings import load_settings

    key = load_registry(registry or load_settings().registry).key_of(county)
    order = Order(
        county=key,
        registry=registry,
        properties=properties,
        labels=tuple(labels or ()),
        own_labels=own_labels,
        segmenter=segmenter,
        weights=weights,
        limit=limit,
        again=again,
        when_unavailable="buffer" if when_unavailable == "buffer" else "defer",
        out=out or Path("out") / key,
    )
    report = run_batch(order, progress=progress())
    print_report(report)
    sys.exit(130 if report.interrupted else report.exit_code)
