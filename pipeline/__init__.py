"""What runs, what is kept, what people see.

from pipeline import Order, run_batch
report = run_batch(Order(county="sample"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.batch import BatchReport, Order, run_batch

__all__ = ["BatchReport", "Order", "run_batch"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # Not imported until asked for: `lotline db url` must not wait for rasterio and geopandas.
    if name in __all__:
        from pipeline import batch

        return getattr(batch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
