"""`lotline review`: a reviewer's decision on a detection."""

from __future__ import annotations

import getpass

import click

from pipeline.cli.options import PositiveInt
from pipeline.cli.output import echo


def _reviewer() -> str:
    return getpass.getuser()


@click.group()
def review() -> None:
    """Accept, reject or restore detections.

    DETECTION_ID is a detection's ID in the database and in the files of `lotline export`.
    """


_detection = click.argument("detection_id", type=PositiveInt(min=1))
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
    from pipeline.errors import StoreError
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
