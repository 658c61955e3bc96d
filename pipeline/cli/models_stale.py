"""`lotline models stale`: the properties that older weights measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

import click

from detection.segmenters import SEGMENTERS, WITHOUT_WEIGHTS
from pipeline.cli.output import echo, echo_json
from pipeline.cli.review_database import review_transaction

_SHORT = 12


@click.command()
@click.option(
    "--segmenter", type=click.Choice([each for each in SEGMENTERS if each not in WITHOUT_WEIGHTS]),
    default="landcover", show_default=True, help="Only of this segmenter.",
)  # fmt: skip
@click.option("--county", help="Only this county, by its registry key; all by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stale(segmenter: str, county: str | None, as_json: bool) -> None:
    """List the properties that older weights measured, by county and weights.

    `lotline batch --stale` processes them again; what people reviewed stays. Properties that were
    reviewed in full are left alone.
    """
    from detection.segmenters import build_segmenter
    from pipeline.cli.stored import registry_option_of
    from pipeline.county_entry import registry_file
    from pipeline.plurals import count_of
    from pipeline.settings import load_settings
    from pipeline.store.counties import bound_registry
    from pipeline.store.models.promoted_segmenter import describe
    from pipeline.store.models.versions import champion
    from pipeline.store.models.weights_source import is_exact
    from pipeline.store.queue.stale import count_stale, measured_counties, older_weights

    settings = load_settings()
    named = settings.weights_of(segmenter)
    own = partial(build_segmenter, segmenter, named)
    with review_transaction() as conn:
        promoted = None if is_exact(segmenter, named) else champion(conn, segmenter)
        in_use = own().weights_sha256 if promoted is None else promoted.facts.weights_sha256
        found = [
            each
            for key in ([county] if county else measured_counties(conn, segmenter))
            for each in count_stale(
                conn, key, segmenter, older_weights(conn, key, segmenter, in_use or "")
            )
        ]
        bound = {each.county: bound_registry(conn, each.county) for each in found}
    if as_json:
        document = {"segmenter": segmenter, "weights_sha256": in_use}
        echo_json(json.dumps({**document, "stale": [asdict(each) for each in found]}, indent=2))
        return
    weights = f"the weights in {named}" if named and not promoted else describe(promoted)
    echo(f"{segmenter} uses {weights}, {(in_use or '')[:_SHORT]}")
    if not found:
        echo("no property was measured by other weights")
    for each in found:
        model = "" if each.model is None else f" (model {each.model})"
        kept = f", {each.reviewed_in_full:,} reviewed in full" if each.reviewed_in_full else ""
        echo(
            f"{each.county:<20}  {each.weights_sha256[:_SHORT]}{model}  "
            f"{count_of(each.properties, 'properties')}{kept}"
        )
    for key in dict.fromkeys(each.county for each in found if each.properties):
        # Without it, another registry's county of the same or a similar name is found.
        of_file = bound[key] if bound[key] != registry_file(settings.registry) else None
        words = f"--county {key}{registry_option_of(of_file)} --segmenter {segmenter} --stale"
        echo(f"`lotline batch {words}` measures them again")
