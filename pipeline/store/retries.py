"""Retries a transaction after a transient database error, with exponential backoff and jitter.

Transient errors are a server restart, a lost connection, or a deadlock: the transaction was rolled
back. If the reply to COMMIT is lost, it may also have been committed. So a function that is retried
must be idempotent.
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

# Longer than a server restart, shorter than a lease.
RETRY_FOR_S = 120.0

# SQLSTATE classes: connection exception, transaction rollback (deadlock, serialization).
_TRANSIENT_CLASSES = ("08", "40")
# Server shutdown (two), server startup, too many connections, lock not available.
_TRANSIENT_STATES = ("57P01", "57P02", "57P03", "53300", "55P03")


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # The driver's own errors: it cannot connect, or lost the connection.
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state in _TRANSIENT_STATES or state.startswith(_TRANSIENT_CLASSES)


# Decorator for a function that is one idempotent transaction. After `RETRY_FOR_S` the last error
# is raised.
retry_transient = retry(
    retry=retry_if_exception(is_transient),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_delay(RETRY_FOR_S),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
