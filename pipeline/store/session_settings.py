"""The settings of every session: what a role, a database or the server has set must not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.engine.interfaces import DBAPIConnection

# TCP keepalives: each side notices within about a minute that the other machine froze or that the
# network is cut. They do not limit how long a statement may run.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT, USER_TIMEOUT_MS = 30, 10, 3, 60_000

# Where they have their default. Otherwise the server would hold the locks of a lost machine for
# hours, the advisory lock of its run included.
_KEEPALIVES = {
    "tcp_keepalives_idle": str(KEEPALIVE_IDLE_S),
    "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_S),
    "tcp_keepalives_count": str(KEEPALIVE_COUNT),
    "tcp_user_timeout": str(USER_TIMEOUT_MS),
}

# Unless DATABASE_URL sets them. A role's timeout is meant for web requests: it would end a run's
# heartbeat between two beats, and the statement that writes a chunk or reads a county.
_WITHOUT_TIMEOUTS = dict.fromkeys(
    (
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "lock_timeout",
        "statement_timeout",
        "transaction_timeout",
    ),
    "0",
)

# Always: the driver reads values in these forms, and floats exactly.
_FORMS = {
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "default_transaction_isolation": "read committed",
    "extra_float_digits": "1",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
}

_SET = """
SELECT set_config(name, wanted.value, false) FROM pg_settings
JOIN unnest(CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS text[]))
    AS wanted (name, value, unless) USING (name)
WHERE setting <> wanted.value AND CASE wanted.unless
    WHEN 'set' THEN source = 'default' WHEN 'client' THEN source <> 'client' ELSE true END
"""

# PostGIS may be in a schema of its own, which not every role has on its path.
_FIND_POSTGIS = """
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''),
    quote_ident(nspname)), false)
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname = 'postgis' AND NOT nspname = ANY(current_schemas(false))
"""


def prepare_session(
    connection: DBAPIConnection | psycopg.Connection[Any], _: object = None
) -> None:
    """Set what Lotline relies on, for the session of a new connection."""
    rows = [
        (name, value, unless)
        for settings, unless in ((_KEEPALIVES, "set"), (_WITHOUT_TIMEOUTS, "client"), (_FORMS, ""))
        for name, value in settings.items()
    ]
    cursor = connection.cursor()
    cursor.execute(_SET, [list(column) for column in zip(*rows, strict=True)])
    cursor.execute(_FIND_POSTGIS)
    cursor.close()
    connection.commit()
