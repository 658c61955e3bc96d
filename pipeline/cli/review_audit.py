"""`lotline review audit`: random samples, and the error rates that they say."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING

import click

from parcels.untrusted import sanitize_text
from pipeline.cli.options import PositiveInt, county_option
from pipeline.cli.output import echo, echo_json
from pipeline.cli.review_database import review_transaction
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from pipeline.store.reviews.audit_results import AuditRate, AuditResults
    from pipeline.store.reviews.audit_statistics import Interval

SOURCES = {"lot": "lot", "buffer_30m": "30 m circle"}


@click.group()
def audit() -> None:
    """Random samples from which error rates are estimated."""


@audit.command()
@county_option
@click.option(
    "--per-stratum", type=PositiveInt(1, 1_000), default=50, show_default=True,
    help="Number of detections of each label and boundary source.",
)  # fmt: skip
@click.option(
    "--second", type=click.FloatRange(0, 1), default=0.2, show_default=True,
    help="Share that a second reviewer answers too, blind to the first.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1),
    help="Seed of the random numbers; the same seed draws the same sample.",
)  # fmt: skip
@click.option("--by", default=getpass.getuser, help="Who draws it; your user name by default.")
def start(county: str, per_stratum: int, second: float, seed: int | None, by: str) -> None:
    """Draw a sample of a county's detections: its audit from now on.

    Reviewers answer it in the review panel, in the queue "audit". Answers of earlier samples stay
    stored, but no longer count.
    """
    from pipeline.store.reviews.audit_results import audit_results
    from pipeline.store.reviews.audit_samples import start_sample

    with review_transaction() as conn:
        sample = start_sample(
            conn, county, by, per_stratum=per_stratum, second_fraction=second, seed=seed
        )
        results = audit_results(conn, county)
    echo(
        f"audit {sample.id} of {county}: {count_of(sample.items, 'detections')}, seed {sample.seed}"
    )
    if results is not None:
        for rate in results.strata:
            echo(f"  {_name(rate)}: {rate.sampled:,} of {rate.population:,}")
        echo(f"{count_of(results.second_wanted, 'items')} of them need a second opinion.")
    echo('Reviewers answer in the review panel, in the queue "audit": `lotline review`.')


@audit.command()
@county_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(county: str, as_json: bool) -> None:
    """Show what a county's audit says so far, with 95 % intervals.

    Figures of fewer than 10 decided items are withheld: "too few", in JSON null with a reason.
    """
    from pipeline.store.reviews.audit_figures import audit_figures
    from pipeline.store.reviews.audit_results import audit_results

    with review_transaction() as conn:
        results = audit_results(conn, county)
    if as_json:
        found = None if results is None else audit_figures(results)
        echo_json(json.dumps(found, default=str, indent=2))
    elif results is None:
        echo(f"{county} has no audit yet: `lotline review audit start --county {county}` draws one")
    else:
        _print(results)


def _print(results: AuditResults) -> None:
    from pipeline.store.reviews.audit_figures import too_few

    sample, overall = results.sample, results.overall
    echo(
        f"audit {sample.id} of {sanitize_text(sample.county)}, drawn {sample.created_at:%Y-%m-%d} "
        f"by {sanitize_text(sample.created_by)}: {overall.answered:,} of "
        f"{count_of(sample.items, 'items')} answered"
    )
    for rate in (*results.strata, overall):
        unsure = f", {rate.unsure} unsure" if rate.unsure else ""
        echo(
            f"  {_name(rate)}: precision {_interval(rate.precision, rate.decided)}, right as it is "
            f"{_interval(rate.exactness, rate.decided)}, area {_area(rate)} "
            f"({rate.decided:,} of {rate.sampled:,} decided{unsure})"
        )
    both = results.agreement
    kappa = "" if both.kappa is None or too_few(both.pairs) else f", kappa {both.kappa:.2f}"
    echo(
        f"second opinions: {results.second_given:,} of {results.second_wanted:,}; the same verdict "
        f"in {_interval(both.share, both.pairs)}{kappa}"
    )


def _name(rate: AuditRate) -> str:
    if rate.label is None:
        return "all, by their share of the county"
    return f"{sanitize_text(rate.label)}, {SOURCES.get(rate.source or '', rate.source)}"


def _interval(interval: Interval, count: int) -> str:
    from pipeline.store.reviews.audit_figures import too_few

    if (reason := too_few(count)) or interval.estimate is None:
        return reason or "unknown"
    return f"{interval.estimate:.0%} ({interval.low:.0%} to {interval.high:.0%})"


def _area(rate: AuditRate) -> str:
    from pipeline.store.reviews.audit_figures import area_reason

    error = rate.area
    reason = area_reason(rate)
    if reason or error is None or error.low is None or error.high is None:
        return reason or "unknown"
    return f"{error.bias:+.1%} ({error.low:+.1%} to {error.high:+.1%})"
