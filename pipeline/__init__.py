"""Batch runs: the queue, the stages, the database of results, reports and exports.

from pipeline import BatchRequest, run_batch
report = run_batch(BatchRequest(county="sample"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.batch import BatchReport, BatchRequest, run_batch
    from pipeline.errors import PipelineError

__all__ = ["BatchReport", "BatchRequest", "PipelineError", "run_batch"]

# Deprecated names that other services still import.
_DEPRECATED_NAMES = {"Order": "BatchRequest"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # A lazy import: `lotline db url` must not load rasterio and geopandas.
    if name == "PipelineError":
        from pipeline.errors import PipelineError

        return PipelineError
    if name in __all__ or name in _DEPRECATED_NAMES:
        try:
            from pipeline import batch
        except ModuleNotFoundError as error:
            from parcels.missing_extra import missing_extra

            message = missing_extra(error, "pipeline")
            if message is None:
                raise
            raise ModuleNotFoundError(message, name=error.name) from error
        return getattr(batch, _DEPRECATED_NAMES.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
