"""`lotline models`: trained weights, and which of them are used."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detection.segmenters import SEGMENTERS
from parcels.untrusted import sanitize_text
from pipeline.cli.judge import judge, judgement_document, judgement_lines
from pipeline.cli.models_export import export
from pipeline.cli.models_stale import stale
from pipeline.cli.output import echo, echo_json
from pipeline.cli.review_database import review_transaction

if TYPE_CHECKING:
    from pipeline.store.models.versions import ModelVersion

_SHORT = 12
_GATE = {"passed": "passed the gate", "refused": "refused", "too_few": "too few lots to decide"}

# A delta of sam3 belongs to the base that SAM3_WEIGHTS names.
_REGISTERED = ("landcover", "sam3", "sam3-tiny", "sam3-nano")

_by_option = click.option(
    "--by", default=getpass.getuser, help="Who decides; your user name by default."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def models() -> None:
    """Trained weights: register, judge, promote and roll back."""


@models.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--segmenter", type=click.Choice(_REGISTERED), default="landcover", show_default=True,
    help="The segmenter that was trained.",
)  # fmt: skip
@click.option(
    "--to", "address", metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Where the files are stored; LOTLINE_HOME by default. Workers on other machines need a "
    "bucket, or a folder that all of them have.",
)  # fmt: skip
@click.option("--note", default="", help="A note for people.")
@_by_option
def add(folder: Path, segmenter: str, address: str | None, note: str, by: str) -> None:
    """Register the weights in FOLDER, which `lotline train` or `lotline models export` wrote.

    Nothing uses them before they are promoted.
    """
    from pipeline.learning.registered_run import registered_facts
    from pipeline.settings import load_settings
    from pipeline.store.models.versions import register_model

    where = address or str((load_settings().home / "registered").resolve())
    facts = registered_facts(folder, segmenter, where, sanitize_text(note, 600))
    with review_transaction() as conn:
        number = register_model(conn, facts, by)
    echo(f"model {number}: {segmenter} {facts.weights_sha256[:_SHORT]}, a candidate")
    echo(f"`lotline models judge {number}` compares it with the champion")


@models.command("list")
@click.option("--segmenter", type=click.Choice(SEGMENTERS), help="Only of this segmenter.")
@_json_option
def list_(segmenter: str | None, as_json: bool) -> None:
    """List registered weights, the newest first, with state, tier and figures."""
    from pipeline.store.models.judgements import newest_verdicts
    from pipeline.store.models.load_events import recent_loads
    from pipeline.store.models.versions import model_states
    from pipeline.store.models.versions import models as registered

    with review_transaction() as conn:
        found = registered(conn, segmenter)
        states = model_states(conn, found)
        last = {each.id: recent_loads(conn, each.facts.segmenter, each.id, 1) for each in found}
        verdicts = newest_verdicts(conn)
    if as_json:
        documents = [
            _document(each, states[each.id]) | {"gate": verdicts.get(each.id)} for each in found
        ]
        echo_json(json.dumps(documents, indent=2))
        return
    if not found:
        echo("No weights are registered: `lotline models add FOLDER` registers some.")
    for each in found:
        gate = f"  {_GATE[verdicts[each.id]]}" if each.id in verdicts else ""
        echo(
            f"{each.id:>4}  {states[each.id]:<9}  {each.facts.segmenter:<9}  "
            f"{each.facts.weights_sha256[:_SHORT]}  {each.created_at:%Y-%m-%d}  "
            f"{each.facts.tier or '-':<17}  {_figures(each)}{gate}".rstrip()
        )
        for load in last[each.id]:
            if load.outcome == "failed":
                echo(f"      not usable on {load.place}: {load.detail}")
    for name in sorted({each.facts.segmenter for each in found}):
        if not any(each.facts.segmenter == name for each in found if states[each.id] == "champion"):
            echo(f"{name} has no champion: it uses the package's own weights")


@models.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@_json_option
def show(number: int, as_json: bool) -> None:
    """Show what registered weights come from, their figures, and who loaded them."""
    from pipeline.store.models.judgements import judgements
    from pipeline.store.models.load_events import recent_loads
    from pipeline.store.models.versions import model_states, model_version

    with review_transaction() as conn:
        found = model_version(conn, number)
        state = model_states(conn, [found])[number]
        loads = recent_loads(conn, found.facts.segmenter, number)
        judged = judgements(conn, number)
    document = _document(found, state)
    document["loads"] = [
        {**asdict(each), "created_at": each.created_at.isoformat()} for each in loads
    ]
    if as_json:
        document["judgements"] = [judgement_document(each) for each in judged]
        echo_json(json.dumps(document, indent=2))
        return
    for each in document.pop("loads"):
        took = "" if each["took_s"] is None else f" in {each['took_s']:.2f} s"
        echo(f"{each['created_at']}  {each['outcome']} on {each['place']}{took} {each['detail']}")
    for name, value in document.items():
        shown = json.dumps(value) if isinstance(value, dict) else value
        echo(f"{name:<15} {'' if shown is None else sanitize_text(str(shown), 2000)}")
    if judged:
        by = sanitize_text(judged[0].judged_by)
        echo(f"\nJudged by {by}, {judged[0].created_at:%Y-%m-%d %H:%M}:\n")
        for line in judgement_lines(judged[0]):
            echo(line)


@models.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.option("--reason", default="", help="Why, for people.")
@click.option(
    "--despite-gate", "despite_gate", default="", metavar="REASON",
    help="Promote without a passed gate; the reason is recorded.",
)  # fmt: skip
@_by_option
def promote(number: int, reason: str, despite_gate: str, by: str) -> None:
    """Make registered weights the champion, which batches use.

    They must have passed the gate (`lotline models judge`) against the champion of today. The files
    are fetched, loaded and tried on a known chip first: weights that cannot be used are not
    promoted.
    """
    promote_registered(number, by, reason, despite_gate)


def promote_registered(number: int, by: str, reason: str = "", despite_gate: str = "") -> None:
    """Load registered weights, and make them the champion.

    Raises:
        ModelError: the gate does not let them pass, or they cannot be used.
        ObjectStoreError, SegmenterError: likewise.
    """
    from pipeline.settings import load_settings
    from pipeline.store.models.promoted_segmenter import MODEL_CACHE, check_usable
    from pipeline.store.models.promotions import promote as promote_model
    from pipeline.store.models.versions import champions, model_version

    with review_transaction() as conn:
        found = model_version(conn, number)
        in_use = champions(conn, found.facts.segmenter)
    check_usable(found, in_use, load_settings().home / MODEL_CACHE)
    with review_transaction() as conn:
        promote_model(
            conn, number, by, sanitize_text(reason, 600),
            despite_gate=sanitize_text(despite_gate, 600),
        )  # fmt: skip
    echo(f"model {number} is the champion of {found.facts.segmenter}: batches use it from now on")


@models.command()
@click.argument("segmenter", type=click.Choice(_REGISTERED), default="landcover")
@click.option("--reason", default="", help="Why, for people.")
@_by_option
def rollback(segmenter: str, reason: str, by: str) -> None:
    """Go back to the champion before; the package's own weights are before all."""
    from pipeline.store.models.promotions import roll_back

    with review_transaction() as conn:
        now = roll_back(conn, segmenter, by, sanitize_text(reason, 600))
    what = "the package's own weights" if now is None else f"model {now.id}"
    echo(f"{segmenter} uses {what} from now on")


models.add_command(judge)
models.add_command(stale)
models.add_command(export)


def _figures(found: ModelVersion) -> str:
    """The score and the figures by label of the judge, in short."""
    metrics = found.facts.metrics or {}
    named = {"score": metrics.get("score"), **(metrics.get("figures") or {})}
    return "  ".join(
        f"{sanitize_text(str(name), 20)} {value:.3f}"
        for name, value in named.items()
        if isinstance(value, int | float)
    )


@models.command()
@click.argument("segmenter", type=click.Choice(_REGISTERED), default="landcover")
@click.option(
    "--to", "address", metavar="FOLDER|s3://BUCKET/PREFIX", required=True,
    help="Where workers find the champion and its weights.",
)  # fmt: skip
def publish(segmenter: str, address: str) -> None:
    """Copy the champion to where workers without the database read it.

    After a promotion or a rollback, publish again: a worker reads the champion when it starts.
    """
    from pipeline.settings import load_settings
    from pipeline.store.models.champion_file import write_champion
    from pipeline.store.models.model_files import fetch_files, files_in
    from pipeline.store.models.promoted_segmenter import MODEL_CACHE
    from pipeline.store.models.versions import champion

    with review_transaction() as conn:
        found = champion(conn, segmenter)
    if found is None:
        where = write_champion(address, segmenter, None, {})
        echo(f"{where} names the package's own weights")
        return
    folder = fetch_files(found.facts, load_settings().home / MODEL_CACHE)
    facts = found.facts
    where = write_champion(
        address, segmenter, facts.weights_sha256, files_in(folder), facts.thresholds
    )
    echo(f"{where} names model {found.id}, {found.facts.weights_sha256[:_SHORT]}")
    echo(f"workers read it with LOTLINE_CHAMPION={where}")


def _document(found: ModelVersion, state: str) -> dict[str, Any]:
    facts = found.facts
    return {
        "id": found.id,
        "state": state,
        "segmenter": facts.segmenter,
        "weights_sha256": facts.weights_sha256,
        "tier": facts.tier,
        "base_sha256": facts.base_sha256,
        "data_sha256": facts.data_sha256,
        "address": facts.address,
        "files": dict(facts.files),
        "metrics": dict(facts.metrics or {}),
        "settings": dict(facts.settings or {}),
        "note": facts.note,
        "created_by": found.created_by,
        "created_at": found.created_at.isoformat(),
    }
