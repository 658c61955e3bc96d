"""A chunk of outcomes, written in one transaction: tried again, or parted until one lot is left.

What the database cannot do at this moment (it restarts, two writers wait for each other) is tried
again from the start: nothing of the chunk was kept. What it refuses is refused of one lot: the
chunk is halved until that lot stands alone, which fails, and all others are written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shapely.errors import GEOSException
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from parcels.errors import GeometryError
from pipeline.store.results.merge import write_chunk
from pipeline.store.results.outcomes import NotProcessed, Outcome, RunInfo, WriteResult
from pipeline.store.retries import retry_transient

log = logging.getLogger(__name__)

# A lot that the database or its geometry's arithmetic refuses will be refused again.
REFUSED = (IntegrityError, DataError, GeometryError, GEOSException, UnicodeError)


def write(
    engine: Engine, run: RunInfo, outcomes: Sequence[Outcome], owner: str
) -> dict[int, WriteResult]:
    """Write what became of properties that `owner` holds; see `results.write_chunk`.

    A lot that is refused is `failed` with the reason `refused`. Once more is as good as once:
    what the same run wrote already is told again.

    Returns:
        What was written, by property: one that is not there was taken by another, or is asked
        for anew.

    Raises:
        DBAPIError: the database could not be written to for `patience.PATIENCE_S`.
    """
    try:
        return _transaction(engine, run, outcomes, owner)
    except REFUSED as error:
        if len(outcomes) == 1:
            return _transaction(engine, run, [_refused(outcomes[0], error)], owner)
        middle = len(outcomes) // 2
        first = write(engine, run, outcomes[:middle], owner)
        return first | write(engine, run, outcomes[middle:], owner)


@retry_transient
def _transaction(
    engine: Engine, run: RunInfo, outcomes: Sequence[Outcome], owner: str
) -> dict[int, WriteResult]:
    with engine.begin() as conn:
        return write_chunk(conn, run, outcomes, owner)


def _refused(outcome: Outcome, error: Exception) -> NotProcessed:
    said = error.orig if isinstance(error, DBAPIError) else error
    reason = str(said).splitlines()[0]
    log.warning("property %s was refused: %s", outcome.property_fk, reason)
    return NotProcessed(outcome.property_fk, "failed", "refused", reason)
