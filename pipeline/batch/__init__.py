"""One batch run: enqueue, lease, find boundaries, read chips, segment, measure, write, report."""

from pipeline.batch.entry_point import run_batch
from pipeline.batch.request import BatchRequest
from pipeline.batch.result import BatchReport

__all__ = ["BatchReport", "BatchRequest", "run_batch"]
