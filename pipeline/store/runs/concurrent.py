"""Batches that work on the same properties at the same time must measure the same.

A property is leased to one of them, and the others skip it. If they measured it otherwise, what
they were asked for would be dropped without notice. So of two batches that differ, the second one
is refused; of two that start at the same time, the one that starts its run second.

Functions take a `Connection`; the caller commits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import Connection, text

from pipeline.errors import ConcurrentBatchError
from pipeline.store.queue.selection import WHOLE_COUNTY, Selection
from pipeline.store.runs.lifecycle import Run, running_runs

# Keys of a run's settings.
SHARED_SETTINGS = "shared_settings"
LIST_ID = "list_id"

_LOCK_COUNTY = text("SELECT pg_advisory_xact_lock(:class, hashtext(:county))")
_LOCK_CLASS = 0x107721

# Longer ones are digests: the message says only that they differ.
_MAX_SHOWN = 60


def serialize_starts(conn: Connection, county: str) -> None:
    """Until the transaction ends, no other batch of the county can start its run."""
    conn.execute(_LOCK_COUNTY, {"class": _LOCK_CLASS, "county": county})


def check_running(
    conn: Connection, county: str, selection: Selection | None, shared: Mapping[str, str]
) -> bool:
    """Check that running batches with properties of this selection measure the same.

    Args:
        selection: None if it is not known yet: then only batches of the whole county count.
        shared: what is known so far of this batch's settings that must be the same: name -> text.

    Returns:
        Whether there are such batches.

    Raises:
        ConcurrentBatchError: one of them differs.
    """
    beside = [run for run in running_runs(conn, county) if _overlaps(conn, county, selection, run)]
    for run in beside:
        theirs = run.settings.get(SHARED_SETTINGS, {})
        differences = [
            _difference(name, theirs.get(name), value)
            for name, value in shared.items()
            if theirs.get(name) != value
        ]
        if differences:
            raise ConcurrentBatchError(
                f"run {run.id} is working on the same properties of {county} with other "
                f"settings ({'; '.join(differences)}), so what this batch asks for would be "
                f"skipped: wait until it has ended (`lotline runs show {run.id}`), stop it with "
                "Ctrl-C, or give both the same settings"
            )
    return bool(beside)


def _difference(name: str, theirs: str | None, ours: str) -> str:
    if theirs is None or max(len(theirs), len(ours)) > _MAX_SHOWN:
        return f"another {name}" if not name.endswith("s") else f"other {name}"
    return f"{name} {theirs}, here {ours}"


def _overlaps(conn: Connection, county: str, ours: Selection | None, run: Run) -> bool:
    bbox = run.settings.get("bbox")
    theirs = Selection(run.settings.get(LIST_ID), None if bbox is None else tuple(bbox))
    if WHOLE_COUNTY in (ours, theirs):
        return True
    if ours is None:
        return False
    renamed = re.sub(r":(\w+)", r":their_\1", theirs.full_scan_condition)
    found = text(
        "SELECT EXISTS (SELECT FROM lotline.property p "  # noqa: S608
        f"WHERE {ours.full_scan_condition} AND {renamed})"
    )
    values = {"county": county, "their_county": county, **ours.values}
    their_values = {f"their_{name}": value for name, value in theirs.values.items()}
    return bool(conn.execute(found, values | their_values).scalar_one())
