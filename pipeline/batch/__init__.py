"""Lease -> boundary -> chip -> detect -> write."""

from pipeline.batch.request import Order
from pipeline.batch.result import BatchReport
from pipeline.batch.run_batch import run_batch

__all__ = ["BatchReport", "Order", "run_batch"]
