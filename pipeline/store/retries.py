"""What the database cannot do at this moment is tried again, from the start of its transaction.

It restarts, a connection breaks, two transactions wait for each other: nothing of it was kept.
Where the answer to a COMMIT is lost nobody knows, so that what is tried again must be as good done
twice as once.
"""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError, OperationalError
from tenacity import (
    before_sleep_log,
    retry,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

log = logging.getLogger(__name__)

# Longer than a server takes to restart; leases are longer still.
RETRY_FOR_S = 120.0

# By SQLSTATE: the connection failed, the transaction was rolled back for another's sake, the
# server shuts down or starts, has no connection left, a lock was not to be had.
_TRANSIENT_CLASSES = ("08", "40")
_TRANSIENT = ("57P01", "57P02", "57P03", "53300", "55P03")


def is_transient(error: BaseException) -> bool:
    """Whether the same may succeed a moment later."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # What the driver says by itself: it cannot connect, or lost the connection.
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state in _TRANSIENT or state.startswith(_TRANSIENT_CLASSES)


# Of a function that is one transaction: it is called again for `RETRY_FOR_S`, then its error is
# raised.
retry_transient = retry(
    retry=retry_if_exception(is_transient),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_delay(RETRY_FOR_S),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
