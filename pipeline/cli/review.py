"""`lotline review`: the review panel, its tokens, and decisions about single detections."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parcels.untrusted import sanitize_text
from pipeline.cli.options import PositiveInt, registry_option
from pipeline.cli.output import echo
from pipeline.cli.review_audit import audit
from pipeline.cli.review_database import review_transaction
from pipeline.cli.review_import import import_file
from pipeline.errors import StoreError

if TYPE_CHECKING:
    from pipeline.store.reviews.tokens import AccessRole

# As in `pipeline.store.reviews.tokens`, which is imported late.
ROLES = ("viewer", "reviewer", "admin")


def _reviewer() -> str:
    return getpass.getuser()


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="Port; 0 for any free one.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Another name of this server, as browsers write it; repeatable.",
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="Address of a proxy that tells the sender's address and https; repeatable.",
)
@registry_option
@click.pass_context
def review(
    ctx: click.Context,
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    trusted_proxy: tuple[str, ...],
    registry: Path | None,
) -> None:
    """Serve the review panel, or decide about one detection.

    DETECTION_ID is a detection's ID in the database and in the files of `lotline export`.
    """
    if ctx.invoked_subcommand is not None:
        return
    from pipeline.review.server import serve_panel
    from pipeline.settings import load_settings
    from pipeline.store.database import open_existing

    settings = load_settings()
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise StoreError("there is nothing to review yet: run `lotline batch` first")
        serve_panel(
            database,
            registry=registry or settings.registry,
            home=settings.home,
            local_user=_reviewer(),
            host=host,
            port=port,
            allow_hosts=allow_host,
            trusted_proxies=trusted_proxy,
            sam3_weights=settings.sam3_weights,
            ready=_say_ready,
        )


def _say_ready(address: str, has_tokens: bool) -> None:
    echo(f"The review panel is at {address} (Ctrl-C stops it).")
    if not has_tokens:
        echo(
            f"No token exists: only this machine can reach it, and whoever does reviews as "
            f"{_reviewer()}. `lotline review token add NAME` makes a token for a reviewer."
        )


review.add_command(import_file)
review.add_command(audit)


@review.group()
def token() -> None:
    """Tokens with which people and services sign in."""


@token.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="reviewer", show_default=True)
@click.option("--county", "counties", multiple=True, help="Only this county; repeatable.")
def add_token(name: str, role: AccessRole, counties: tuple[str, ...]) -> None:
    """Make a token for the reviewer NAME and print it, once."""
    from pipeline.store.reviews import tokens

    with review_transaction() as conn:
        token_id, secret = tokens.add_token(conn, name, role, counties)
    echo(secret)
    echo(f"token {token_id} for {name} ({role}): it is not shown again", err=True)


@token.command("list")
def list_tokens() -> None:
    """List the tokens, without their secrets."""
    from pipeline.store.reviews import tokens

    with review_transaction() as conn:
        found = tokens.list_tokens(conn)
    for each in found:
        used = "never used" if each.used_at is None else f"last used {each.used_at:%Y-%m-%d}"
        state = used if each.revoked_at is None else f"revoked {each.revoked_at:%Y-%m-%d}"
        where = "all counties" if each.counties is None else ", ".join(each.counties)
        echo(f"{each.id}  {sanitize_text(each.reviewer)}  {each.role}  {where}  {state}")
    if not found:
        echo("no tokens: the panel listens on this machine alone")


@token.command("revoke")
@click.argument("token_id", type=PositiveInt(min=1, max=2**63 - 1))
def revoke_token(token_id: int) -> None:
    """Revoke a token; sessions that were begun with it end."""
    from pipeline.store.reviews import tokens

    with review_transaction() as conn:
        tokens.revoke_token(conn, token_id)
    echo(f"token {token_id} is revoked")


_detection = click.argument("detection_id", type=PositiveInt(min=1, max=2**63 - 1))
_by = click.option(
    "--by", "reviewer", default=_reviewer, help="Reviewer; your user name by default."
)
_note = click.option("--note", default="", help="Reason.")


@review.command()
@_detection
@_by
@_note
def accept(detection_id: int, reviewer: str, note: str) -> None:
    """Accept a detection as correct."""
    _decide("accept", detection_id, reviewer, note)


@review.command()
@_detection
@_by
@_note
def reject(detection_id: int, reviewer: str, note: str) -> None:
    """Reject a wrong detection; later runs do not bring it back."""
    _decide("reject", detection_id, reviewer, note)


@review.command()
@_detection
@_by
@_note
def restore(detection_id: int, reviewer: str, note: str) -> None:
    """Restore a rejected detection: it is proposed again."""
    _decide("restore", detection_id, reviewer, note)


def _decide(action: str, detection_id: int, reviewer: str, note: str) -> None:
    from pipeline.settings import load_settings
    from pipeline.store.database import open_existing
    from pipeline.store.reviews import verdicts

    settings = load_settings()
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise StoreError(
                f"there is no detection {detection_id}: nothing is stored yet; run `lotline batch`"
            )
        with database.engine.begin() as conn:
            decide = {
                "accept": verdicts.accept,
                "reject": verdicts.reject,
                "restore": verdicts.restore,
            }
            done = decide[action](conn, detection_id, reviewer, note=note)
            where = verdicts.place_of(conn, detection_id)
    echo(f"detection {detection_id}: {done.state}, by {reviewer} ({done.label} on {where})")
