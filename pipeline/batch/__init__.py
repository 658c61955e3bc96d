"""One batch run: enqueue, lease, find boundaries, read chips, segment, measure, write, report."""

from pipeline.batch.request import BatchRequest
from pipeline.batch.result import BatchReport
from pipeline.batch.run_batch import run_batch

__all__ = ["BatchReport", "BatchRequest", "run_batch"]
