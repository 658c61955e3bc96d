"""`lotline registry`: which counties there are, and how to get more."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import registry_option
from pipeline.cli.output import print_message

if TYPE_CHECKING:
    from parcels import County, Registry
    from parcels.catalogue.import_layers import ImportResult
    from parcels.catalogue.verify import VerifyResult


@click.group()
def registry() -> None:
    """The counties that Lotline knows."""


@registry.command("list")
@registry_option
@click.option("--state", help="The counties of one state, shipped ones too: CO.")
@click.option("--all", "everything", is_flag=True, help="Also all the US layers that are shipped.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_(registry: Path | None, state: str | None, everything: bool, as_json: bool) -> None:
    """List the counties of the registry file, a line each."""
    known = _load(registry)
    counties = sorted(_listed(known, state, everything=everything), key=lambda c: c.key)
    if as_json:
        click.echo(json.dumps([_facts(county, own=county.key in known) for county in counties]))
        return
    rows = [(c.key, c.name, _verified(c), _parcels(c)) for c in counties]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [f"{text:<{width}}" for text, width in zip(row, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())
    if not everything and state is None:
        print_message(f"and {len(known.shipped_keys()):,} shipped US layers: --all, or --state CO")


def _load(file: Path | None) -> Registry[County]:
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.settings import load_settings

    return load_registry(file or load_settings().registry, DetectionCounty)


def _listed(known: Registry[County], state: str | None, *, everything: bool) -> list[County]:
    """The counties of the file, of a state, or all."""
    from parcels.catalogue.county_names import slug
    from parcels.catalogue.us_states import states_as_written

    if state is None:
        return [*known.values(), *(known.shipped() if everything else ())]
    code = states_as_written().get(slug(state))
    if code is None:
        raise click.BadParameter(f"{state!r} is no state of the US; write for example CO")
    return [*(c for c in known.values() if c.state == code), *known.shipped(code)]


def _parcels(county: County) -> str:
    return f"{county.url}/{county.layer}" if county.url else str(county.path or "synthetic")


def _verified(county: County) -> str:
    if not county.layers:
        return ""  # there is no server to ask
    return f"verified {county.verified}" if county.verified else "not verified"


def _facts(county: County, *, own: bool) -> dict[str, Any]:
    return {
        "key": county.key,
        "name": county.name,
        "state": county.state,
        "fips": county.fips,
        "parcels": _parcels(county),
        "fields": county.fields.model_dump(exclude_none=True),
        "verified": county.verified.isoformat() if county.verified else None,
        "shipped": not own,
    }


@registry.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The registry file to write; a table of what was left out lies beside it.",
)  # fmt: skip
def import_(source: Path, out: Path) -> None:
    """Make a registry file of an OpenAddresses source tree, or of a table (CSV) of its layers."""
    from parcels.catalogue.import_layers import import_layers

    _print_import(import_layers(source, out))


def _print_import(done: ImportResult) -> None:
    whole = sum(1 for drop in done.dropped if drop.what == "layer")
    parts = len(done.dropped) - whole
    click.echo(f"{len(done.keys):,} of {done.layers:,} layers are entries of {done.file}")
    click.echo(
        f"{whole:,} layers and {parts:,} of the others' codes and columns were left out; each "
        f"with its reason: {done.dropped_file}"
    )


@registry.command()
@click.argument("counties", nargs=-1, metavar="[COUNTY]...")
@registry_option
@click.option("--state", help="The counties of one state, shipped ones too: CO.")
@click.option("--all", "everything", is_flag=True, help="Also all the US layers that are shipped.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def verify(
    counties: tuple[str, ...],
    registry: Path | None,
    state: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Ask the counties' servers whether their entries still hold.

    Without names: those of the registry file. What is in order is marked there with the day and
    the extent; what fails loses the mark; what does not answer keeps it. A server that is silent
    for 12 seconds is asked once more; a county that does not answer is given up within a minute
    or so.
    """
    from parcels.catalogue.verify import verify_all
    from pipeline.open_county import register_secrets

    known = _load(registry)
    chosen = _chosen(known, counties, state, everything=everything)
    for county in chosen:
        register_secrets(county)
    verdicts: list[VerifyResult] = []
    try:
        for verdict in verify_all(chosen):
            verdicts.append(verdict)
            _print_verdict(verdict, len(verdicts), len(chosen), to_stderr=as_json)
    finally:
        # Also of what was done when someone presses Ctrl-C.
        kept = _keep(known.path, verdicts)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if as_json:
        click.echo(json.dumps([_verdict_facts(verdict) for verdict in verdicts], indent=2))
    silent = sum(verdict.inconclusive for verdict in failed)
    click.echo(
        f"{len(verdicts) - len(failed):,} in order, {len(failed) - silent:,} failed, {silent:,} "
        f"without an answer; {kept}",
        err=as_json,
    )
    sys.exit(1 if failed else 0)


def _chosen(
    known: Registry[County], names: tuple[str, ...], state: str | None, *, everything: bool
) -> list[County]:
    """The counties that have a server, of those that were asked for."""
    chosen = [known.county(name) for name in names] or _listed(known, state, everything=everything)
    with_server = {county.key: county for county in chosen if county.layers}
    if not with_server:
        raise click.UsageError("none of these counties has an ArcGIS server to ask")
    return list(with_server.values())


def _print_verdict(verdict: VerifyResult, done: int, total: int, *, to_stderr: bool) -> None:
    word = "ok" if verdict.passed else "no answer" if verdict.inconclusive else "failed"
    said = [verdict.problem] if verdict.problem else []
    first, *others = [*said, *verdict.notes] or [verdict.county.name]
    counted = f"[{done:>{len(str(total))}}/{total}] " if total > 1 else ""
    click.echo(f"{counted}{word:<9}  {verdict.county.key}  {first}", err=to_stderr)
    for note in others:
        click.echo(f"{'':<{len(counted) + 9}}  {note}", err=to_stderr)


def _keep(file: Path, verdicts: list[VerifyResult]) -> str:
    """Say it in the registry file; what came of that."""
    from datetime import UTC, datetime

    from parcels.catalogue.edit_registry import set_keys
    from parcels.registry.load import is_packed

    today = datetime.now(UTC).date()
    facts = {verdict.county.key: verdict.registry_changes(today) for verdict in verdicts}
    known = {key: said for key, said in facts.items() if said}
    if known and is_packed(file):
        return "nothing is kept: name a registry file of your own with --registry"
    if known:
        set_keys(file, known)
    return f"kept in {file}" if known else "nothing to keep"


def _verdict_facts(verdict: VerifyResult) -> dict[str, Any]:
    return {
        "key": verdict.county.key,
        "in_order": verdict.passed,
        "answered": not verdict.inconclusive,
        "problem": verdict.problem,
        "notes": verdict.notes,
        "extent": verdict.extent,
    }


@registry.command()
@click.argument("name")
@click.argument("url")
@registry_option
@click.option("--allow-private", is_flag=True, help="The server is on a private address.")
def add(name: str, url: str, registry: Path | None, allow_private: bool) -> None:
    """Look at a layer and write an entry for it, with its columns guessed.

    NAME is what the county is called from then on, best like travis-tx. URL is that of the layer,
    or of a service with one layer of polygons.
    """
    from parcels.arcgis.http.address_guard import ALLOW_PRIVATE_HINT
    from parcels.catalogue.add_county import add_county
    from parcels.errors import AddressRefused
    from parcels.registry.load import default_registry, is_packed
    from pipeline.settings import load_settings

    file = registry or load_settings().registry or default_registry()
    if is_packed(file):
        raise click.UsageError("name a registry file of your own with --registry")
    try:
        added = add_county(name, url, file, allow_private=allow_private)
    except AddressRefused as error:
        raise AddressRefused(
            str(error).replace(ALLOW_PRIVATE_HINT, "add --allow-private")
        ) from error
    click.echo(f"{name}:")
    for line in added.lines:
        click.echo(f"  {line}")
    there = f" --registry {shlex.quote(str(registry))}" if registry else ""
    print_message(f"written to {file}; now: lotline registry verify {name}{there}")
