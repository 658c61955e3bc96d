"""`lotline registry`: list, import, verify and add counties."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import registry_option
from pipeline.cli.output import echo, echo_json, print_message
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from parcels import County, Registry
    from parcels.catalogue.import_layers import ImportResult
    from parcels.catalogue.verify import VerifyResult

_OWN_FILE = "the shipped registry is read-only; name your own file with --registry"


@click.group()
def registry() -> None:
    """List, verify and add counties."""


@registry.command("list")
@registry_option
@click.option("--state", help="Counties of this state, shipped ones included (CO).")
@click.option("--all", "everything", is_flag=True, help="Include all shipped US layers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(registry: Path | None, state: str | None, everything: bool, as_json: bool) -> None:
    """List the counties of the registry file, one per line."""
    known = _load(registry)
    counties = sorted(_listed(known, state, everything=everything), key=lambda c: c.key)
    if as_json:
        listed = [_county_json(county, own=county.key in known) for county in counties]
        echo_json(json.dumps(listed))
        return
    rows = [(c.key, c.name, _verified(c), _parcels(c)) for c in counties]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [f"{text:<{width}}" for text, width in zip(row, widths, strict=True)]
        echo("  ".join(padded).rstrip())
    if not everything and state is None:
        shipped = len(known.shipped_keys())
        print_message(f"plus {shipped:,} shipped US layers: list them with --all or --state CO")


def _load(file: Path | None) -> Registry[County]:
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.settings import load_settings

    return load_registry(file or load_settings().registry, DetectionCounty)


def _listed(known: Registry[County], state: str | None, *, everything: bool) -> list[County]:
    """Select the counties of the file, of a state, or all."""
    from parcels.registry.county_names import slug
    from parcels.registry.us_states import states_as_written

    if state is None:
        return [*known.values(), *(known.shipped() if everything else ())]
    code = states_as_written().get(slug(state))
    if code is None:
        raise click.BadParameter(f"{state!r} is not a US state; write for example CO")
    return [*(c for c in known.values() if c.state == code), *known.shipped(code)]


def _parcels(county: County) -> str:
    return f"{county.url}/{county.layer}" if county.url else str(county.path or "synthetic")


def _verified(county: County) -> str:
    if not county.layers:
        return ""  # a file: nothing to verify
    return f"verified {county.verified}" if county.verified else "not verified"


def _county_json(county: County, *, own: bool) -> dict[str, Any]:
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
    help="Registry file to write; skipped layers are listed in a CSV beside it.",
)  # fmt: skip
def import_(source: Path, out: Path) -> None:
    """Create a registry file from OpenAddresses sources.

    SOURCE is an OpenAddresses source tree, or a CSV of its layers.
    """
    from parcels.catalogue.import_layers import import_layers

    _print_import(import_layers(source, out))


def _print_import(result: ImportResult) -> None:
    layers = sum(1 for drop in result.dropped if drop.what == "layer")
    details = len(result.dropped) - layers
    echo(f"imported {len(result.keys):,} of {result.layers:,} layers into {result.file}")
    echo(
        f"skipped {count_of(layers, 'layers')}, and {count_of(details, 'details')} (a code or a "
        f"column) of imported layers; reasons: {result.dropped_file}"
    )


@registry.command()
@click.argument("counties", nargs=-1, metavar="[COUNTY]...")
@registry_option
@click.option("--state", help="Counties of this state, shipped ones included (CO).")
@click.option("--all", "everything", is_flag=True, help="Include all shipped US layers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    counties: tuple[str, ...],
    registry: Path | None,
    state: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Check registry entries against the counties' servers.

    Without names, it checks the counties of the registry file. An entry that passes is marked
    there with the date and the extent; one that fails loses the mark; if its server is
    unavailable, it keeps the mark. A request that times out after 12 seconds is retried once; an
    unavailable county takes about a minute.
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
        # In `finally`, so that Ctrl-C saves the counties verified so far.
        saved = _save(known.path, verdicts)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if as_json:
        echo_json(json.dumps([_verdict_json(verdict) for verdict in verdicts], indent=2))
    unavailable = sum(verdict.inconclusive for verdict in failed)
    echo(
        f"{len(verdicts) - len(failed):,} passed, {len(failed) - unavailable:,} failed, "
        f"{unavailable:,} unavailable; {saved}",
        err=as_json,
    )
    sys.exit(1 if failed else 0)


def _chosen(
    known: Registry[County], names: tuple[str, ...], state: str | None, *, everything: bool
) -> list[County]:
    """Select the named counties, or those of the file or the state, that have a server."""
    chosen = [known.county(name) for name in names] or _listed(known, state, everything=everything)
    with_server = {county.key: county for county in chosen if county.layers}
    if not with_server:
        raise click.UsageError("none of these counties has an ArcGIS server to verify")
    return list(with_server.values())


def _print_verdict(verdict: VerifyResult, done: int, total: int, *, to_stderr: bool) -> None:
    word = "ok" if verdict.passed else "unavailable" if verdict.inconclusive else "failed"
    problem = [verdict.problem] if verdict.problem else []
    first, *others = [*problem, *verdict.notes] or [verdict.county.name]
    counter = f"[{done:>{len(str(total))}}/{total}] " if total > 1 else ""
    echo(f"{counter}{word:<11}  {verdict.county.key}  {first}", err=to_stderr)
    for note in others:
        echo(f"{'':<{len(counter) + 11}}  {note}", err=to_stderr)


def _save(file: Path, verdicts: list[VerifyResult]) -> str:
    """Write the marks to the registry file; return the outcome as text."""
    from datetime import UTC, datetime

    from parcels.catalogue.edit_registry import set_keys
    from parcels.registry.load import is_packed

    today = datetime.now(UTC).date()
    facts = {verdict.county.key: verdict.registry_changes(today) for verdict in verdicts}
    changes = {key: values for key, values in facts.items() if values}
    if changes and is_packed(file):
        return f"not saved: {_OWN_FILE}"
    if changes:
        set_keys(file, changes)
    return f"saved in {file}" if changes else "nothing to save"


def _verdict_json(verdict: VerifyResult) -> dict[str, Any]:
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
@click.option("--allow-private", is_flag=True, help="Allow a server on a private address.")
def add(name: str, url: str, registry: Path | None, allow_private: bool) -> None:
    """Add a county from its ArcGIS layer.

    Inspects the layer, guesses its columns, and writes a registry entry.

    NAME is the county's key, for example travis-tx. URL is that of the layer, or of a service with
    one polygon layer.
    """
    from parcels.arcgis.http.address_guard import ALLOW_PRIVATE_HINT
    from parcels.catalogue.add_county import add_county
    from parcels.errors import AddressRefused
    from parcels.registry.load import default_registry, is_packed
    from pipeline.settings import load_settings

    file = registry or load_settings().registry or default_registry()
    if is_packed(file):
        raise click.UsageError(_OWN_FILE)
    try:
        added = add_county(name, url, file, allow_private=allow_private)
    except AddressRefused as error:
        raise AddressRefused(
            str(error).replace(ALLOW_PRIVATE_HINT, "add --allow-private")
        ) from error
    echo(f"{name}:")
    for line in added.lines:
        echo(f"  {line}")
    option = f" --registry {shlex.quote(str(registry))}" if registry else ""
    print_message(f"added to {file}; next: lotline registry verify {name}{option}")
