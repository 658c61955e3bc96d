"""Lease -> boundary -> chip -> detect -> write."""

from pipeline.batch.request import BatchRequest
from pipeline.batch.result import BatchReport
from pipeline.batch.run_batch import run_batch

__all__ = ["BatchReport", "BatchRequest", "run_batch"]
