"""The database: connection, schema, tables, and every SQL statement.

database      opens the database (DATABASE_URL or embedded), keepalives
schema        checks and upgrades the schema revision (`migrations/`)
tables        the tables as SQLAlchemy Core sees them
server_checks, connection_pooler, session_settings   what a database must offer; sessions
counties      the source of each county; another entry with its key is refused
retries       retries transient errors with backoff and jitter
disk_full     turns a full database disk into one clear error
bulk_copy     temporary staging tables, filled by binary COPY
embedded/     a private PostGIS server, started on demand
queue/        properties of a county: loading, leases, retry policy
results/      writes results, merged with earlier runs and with reviews
reviews/      what people decided about detections
runs/         one batch each: lifecycle, metrics, totals, comparison
reads/        results read for exports and status
parcel_cache/ parcels cached in the database

Functions that take a `Connection` do not commit: the caller owns the transaction.
"""
