"""`lotline review`: a person's verdict on a detection."""

from __future__ import annotations

import getpass

import click


def _reviewer() -> str:
    return getpass.getuser()


@click.group()
def review() -> None:
    """Accept, reject or restore detections by their number (see `lotline export`)."""


_detection = click.argument("detection_id", type=click.IntRange(min=1))
_by = click.option("--by", "reviewer", default=_reviewer, help="Who says so; you by default.")
_note = click.option("--note", default="", help="Why.")


@review.command()
@_detection
@_by
@_note
def accept(detection_id: int, reviewer: str, note: str) -> None:
    """It is right."""
    _decide("accept", detection_id, reviewer, note)


@review.command()
@_detection
@_by
@_note
def reject(detection_id: int, reviewer: str, note: str) -> None:
    """It is wrong, and no later run brings it back."""
    _decide("reject", detection_id, reviewer, note)


@review.command()
@_detection
@_by
@_note
def restore(detection_id: int, reviewer: str, note: str) -> None:
    """It was rejected by mistake: back to proposed."""
    _decide("restore", detection_id, reviewer, note)


def _decide(action: str, detection_id: int, reviewer: str, note: str) -> None:
    from pipeline.settings import load_settings
    from pipeline.store.database import open_database
    from pipeline.store.reviews import verdicts

    settings = load_settings()
    with (
        open_database(settings.database_url, settings.home) as database,
        database.engine.begin() as conn,
    ):
        decide = {"accept": verdicts.accept, "reject": verdicts.reject, "restore": verdicts.restore}
        done = decide[action](conn, detection_id, reviewer, note=note)
    click.echo(f"detection {detection_id}: {done.state}, by {reviewer}")
