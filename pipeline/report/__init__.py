"""What a run tells: data of its row and its properties, as JSON, as tables and as one HTML page."""

from pipeline.report.build_report import build_report
from pipeline.report.run_report import RunReport

__all__ = ["RunReport", "build_report"]
