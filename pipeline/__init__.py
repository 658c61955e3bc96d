"""What runs, what is kept, what people see.

from pipeline import BatchRequest, run_batch
report = run_batch(BatchRequest(county="sample"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.batch import BatchReport, BatchRequest, run_batch

__all__ = ["BatchReport", "BatchRequest", "run_batch"]

# Earlier names, which other services still import.
_OLD_NAMES = {"Order": "BatchRequest"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # Not imported until asked for: `lotline db url` must not wait for rasterio and geopandas.
    if name in __all__ or name in _OLD_NAMES:
        from pipeline import batch

        return getattr(batch, _OLD_NAMES.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
