"""Lists of properties, and a queue that stays quick however long it is."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

# The properties of a file, so that no statement carries their ids. Rows of `listed` are written by
# the one statement that has just found the properties, which nobody deletes: a key for each of
# 350,000 rows would only cost time.
LISTS = """
CREATE TABLE lotline.property_list (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    county text NOT NULL,
    sha256 text NOT NULL,
    bad_row_count integer NOT NULL,
    bad_rows jsonb NOT NULL,
    is_current boolean NOT NULL DEFAULT true,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (county, sha256)
);

CREATE TABLE lotline.listed (
    list_fk bigint NOT NULL,
    property_fk bigint NOT NULL,
    PRIMARY KEY (list_fk, property_fk)
);
"""

# What failed may be asked again without being made pending first. And what a worker holds is
# found by its name, however large the county is.
QUEUE = """
DROP INDEX lotline.property_queue_idx;
CREATE INDEX property_queue_idx ON lotline.property (county, sort_key, id)
    WHERE state IN ('pending', 'leased', 'deferred', 'failed');
CREATE INDEX property_lease_idx ON lotline.property (lease_owner) WHERE state = 'leased';
"""


def upgrade() -> None:
    for statements in (LISTS, QUEUE):
        # Without parameters a % is a %, and one string may hold many statements.
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
