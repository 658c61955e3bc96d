"""Writes a chunk of outcomes in one transaction, with retries and bisection.

A transient error (a server restart, a deadlock) rolls the chunk back; it is retried from the start.
If the database refuses the chunk, one of its lots is bad: the chunk is halved until that lot is
alone. That lot fails; all others are written.
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

# Permanent errors: the database refuses the lot, or its geometry cannot be processed.
REFUSED = (IntegrityError, DataError, GeometryError, GEOSException, UnicodeError)


def write(
    engine: Engine, run: RunInfo, outcomes: Sequence[Outcome], owner: str
) -> dict[int, WriteResult]:
    """Write the outcomes of properties that `owner` holds; see `merge.write_chunk`.

    A refused lot is `failed` with the reason `refused`. Idempotent for one run.

    Returns:
        The written state by property; a property is missing if its lease was lost.

    Raises:
        DBAPIError: transient errors lasted longer than `retries.RETRY_FOR_S`.
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
    cause = error.orig if isinstance(error, DBAPIError) else error
    detail = str(cause).splitlines()[0]
    log.warning("the database refused the result of property %s: %s", outcome.property_fk, detail)
    return NotProcessed(outcome.property_fk, "failed", "refused", detail)
