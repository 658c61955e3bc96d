"""Parameters that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

# The key of a row in the path: what PostgreSQL's bigint holds.
RowKey = Annotated[int, Path(ge=1, lt=2**63)]
