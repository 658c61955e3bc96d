"""Runs alembic's commands on the connection that `pipeline.store.schema` passes."""

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
