"""What a run tells: data of its row and its properties, as JSON, as tables and as one HTML page."""

from pipeline.report.data import RunReport
from pipeline.report.gather import gather

__all__ = ["RunReport", "gather"]
