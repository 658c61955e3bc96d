"""Lease -> boundary -> chip -> detect -> write."""

from pipeline.batch.report import BatchReport
from pipeline.batch.run import Order, run_batch

__all__ = ["BatchReport", "Order", "run_batch"]
