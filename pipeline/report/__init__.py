"""The report of a run: data, JSON, tables, an HTML page and maps; and two runs compared."""

from pipeline.report.report_builder import build_report
from pipeline.report.run_report import RunReport

__all__ = ["RunReport", "build_report"]
