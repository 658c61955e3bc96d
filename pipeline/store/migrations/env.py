"""What alembic runs for each command; the connection comes from `pipeline.store.schema`."""

from __future__ import annotations

from alembic import context

from pipeline.store.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
