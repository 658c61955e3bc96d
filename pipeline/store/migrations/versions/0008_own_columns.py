"""The customer's own columns of a properties file, carried along to exports."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

# A table of its own, so that a lease or a result does not copy these cells with the property's row.
OWN_COLUMNS = """
CREATE TABLE lotline.own_columns (
    property_fk bigint PRIMARY KEY REFERENCES lotline.property,
    cells jsonb NOT NULL
);

ALTER TABLE lotline.property_list ADD COLUMN own_columns text[] NOT NULL DEFAULT '{}';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(OWN_COLUMNS, execution_options={"no_parameters": True})
