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
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from tenacity import (
    before_sleep_log,
    retry,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from parcels.errors import GeometryError
from pipeline.store.outcomes import Outcome, RunInfo, Unanswered, Written
from pipeline.store.results import write_chunk

log = logging.getLogger(__name__)

# A lot that the database or its geometry's arithmetic refuses will be refused again.
REFUSED = (IntegrityError, DataError, GeometryError, GEOSException, UnicodeError)

# Longer than a server takes to restart; leases are longer still.
PATIENCE_S = 120.0

# By SQLSTATE: the connection failed, the transaction was rolled back for another's sake, the
# server shuts down or starts, has no connection left, a lock was not to be had.
_TRANSIENT_CLASSES = ("08", "40")
_TRANSIENT = ("57P01", "57P02", "57P03", "53300", "55P03")


def write(
    engine: Engine, run: RunInfo, outcomes: Sequence[Outcome], owner: str
) -> dict[int, Written]:
    """Write what became of properties that `owner` holds; see `results.write_chunk`.

    A lot that is refused is `failed` with the reason `refused`. Once more is as good as once:
    what the same run wrote already is told again.

    Returns:
        What was written, by property: one that is not there was taken by another, or is asked
        for anew.

    Raises:
        DBAPIError: the database could not be written to for `PATIENCE_S`.
    """
    try:
        return _transaction(engine, run, outcomes, owner)
    except REFUSED as error:
        if len(outcomes) == 1:
            return _transaction(engine, run, [_refused(outcomes[0], error)], owner)
        middle = len(outcomes) // 2
        first = write(engine, run, outcomes[:middle], owner)
        return first | write(engine, run, outcomes[middle:], owner)


def is_transient(error: BaseException) -> bool:
    """Whether the same may succeed a moment later."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # What the driver says by itself: it cannot connect, or lost the connection.
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state in _TRANSIENT or state.startswith(_TRANSIENT_CLASSES)


@retry(
    retry=retry_if_exception(is_transient),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_delay(PATIENCE_S),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
def _transaction(
    engine: Engine, run: RunInfo, outcomes: Sequence[Outcome], owner: str
) -> dict[int, Written]:
    with engine.begin() as conn:
        return write_chunk(conn, run, outcomes, owner)


def _refused(outcome: Outcome, error: Exception) -> Unanswered:
    said = error.orig if isinstance(error, DBAPIError) else error
    reason = str(said).splitlines()[0]
    log.warning("property %s was refused: %s", outcome.property_fk, reason)
    return Unanswered(outcome.property_fk, "failed", "refused", reason)
