"""Lease -> boundary -> chip -> detect -> write."""

from pipeline.batch.order import Order
from pipeline.batch.report import BatchReport
from pipeline.batch.run import run_batch

__all__ = ["BatchReport", "Order", "run_batch"]
